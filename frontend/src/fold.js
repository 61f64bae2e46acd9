// The fold of docs/protocol.md 5.15: events become the conversation. Pure, so that the golden transcripts of
// tests/transcripts can hold this one and the Python one to the same result.

export const nothing = Object.freeze({ messages: Object.freeze([]) });

export function fold(state, { event, id, data }) {
  switch (event) {
    case 'snapshot':
      return { messages: data.messages };
    case 'message':
      return { messages: [...state.messages, asked(data)] };
    case 'delta':
      return answered(state, id, (answer) => ({ ...answer, text: answer.text + data.text }));
    case 'reset':
      // A turn that has said nothing has nothing to forget: an empty answer made here would look like a begun one.
      return answerOf(state, turnOf(id)) < 0 ? state : answered(state, id, (answer) => ({ ...answer, text: '' }));
    case 'end':
      return answered(state, id, (answer) => ended(answer, data));
    default:
      return state;
  }
}

function asked({ turn, parent, role, text }) {
  return { turn, parent, role, text, end: null };
}

function ended(answer, { reason, error }) {
  return error ? { ...answer, end: reason, error } : { ...answer, end: reason };
}

function answered(state, id, change) {
  const turn = turnOf(id);
  const at = answerOf(state, turn);
  if (at < 0) return { messages: [...state.messages, change(begun(state, turn))] };
  const messages = [...state.messages];
  messages[at] = change(messages[at]);
  return { messages };
}

function begun(state, turn) {
  const question = state.messages.findLast((message) => message.turn === turn);
  return { turn, parent: question?.parent ?? turn - 1, role: 'assistant', text: '', end: null };
}

function answerOf(state, turn) {
  return state.messages.findLastIndex((message) => message.turn === turn && message.role === 'assistant');
}

function turnOf(id) {
  return Number.parseInt(id, 10);
}
