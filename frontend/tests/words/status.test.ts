import { describe, expect, test } from 'vitest';

import { type Conversation, fresh } from '../../src/log/conversation';
import type { Entry } from '../../src/log/events';
import { type Moment, type Situation, announcement, ending, reason, status } from '../../src/words/status';
import { WORDS } from '../../src/words/words';
import { answer, linear, question } from '../support/entries';

const idle: Conversation = { ...fresh, cursor: '1.1-9', messages: linear(1) };
const waiting: Conversation = { ...idle, messages: [question(1, 0)], state: 'queued' };
const running: Conversation = {
  ...idle,
  messages: [question(1, 0), { ...answer(1, 0), end: null }],
  state: 'streaming',
};
const at = new Date(2026, 0, 2, 15, 4, 5);

function situation(change: Partial<Situation>): Situation {
  return { connection: { kind: 'live' }, conversation: idle, resumedAt: null, isOnline: true, ...change };
}

const CASES: [string, Partial<Situation>, string, string][] = [
  ['a new chat', { connection: null }, 'Ready', '就绪'],
  ['the first connection', { connection: { kind: 'connecting' } }, 'Connecting…', '正在连接…'],
  ['a session that is not there', { connection: { kind: 'gone' } }, WORDS.en.gone, WORDS.zh.gone],
  ['nobody looking', { connection: { kind: 'resting' } }, 'Resting until you look', '休息中，看到时再连接'],
  [
    'a connection that broke',
    { connection: { kind: 'reconnecting' } },
    'Connection lost. Reconnecting…',
    '连接中断，正在重连…',
  ],
  [
    'a wait',
    { connection: { kind: 'waiting', seconds: 7 } },
    'Connection lost. Reconnecting in 7 s…',
    '连接中断，7 秒后重连…',
  ],
  [
    'a refusal',
    { connection: { kind: 'waiting', seconds: 7, why: { status: 503, code: 'draining', message: 'x' } } },
    'This server is being restarted. Trying again in 7 s…',
    '这台服务器正在重启。7 秒后重试…',
  ],
  ['no network', { connection: { kind: 'reconnecting' }, isOnline: false }, WORDS.en.offline, WORDS.zh.offline],
  [
    'a wait without network',
    { connection: { kind: 'waiting', seconds: 7 }, isOnline: false },
    WORDS.en.offline,
    WORDS.zh.offline,
  ],
  ['a connection that outlives the browser’s own opinion', { isOnline: false }, 'Live · Done', '已连接 · 已完成'],
  ['an answer that is done', {}, 'Live · Done', '已连接 · 已完成'],
  ['a session without a word', { conversation: fresh }, 'Live', '已连接'],
  [
    'a message that waits for its worker',
    { conversation: waiting },
    'Live · Waiting for a worker…',
    '已连接 · 等待工作进程…',
  ],
  ['an answer that grows', { conversation: running }, 'Live · Answering…', '已连接 · 正在回答…'],
  [
    'an answer that is continued',
    { conversation: { ...running, takeover: { attempt: 2, began: 'on', model: null } } },
    'Live · The answer broke off and is being continued.',
    '已连接 · 回答中断了，正在继续生成。',
  ],
  [
    'an answer that is continued by another model',
    { conversation: { ...running, takeover: { attempt: 2, began: 'on', model: 'beta' } } },
    'Live · The answer broke off and is being continued. beta is answering now.',
    '已连接 · 回答中断了，正在继续生成。现在由 beta 回答。',
  ],
  [
    'an answer that begins again',
    { conversation: { ...running, takeover: { attempt: 2, began: 'again', model: null } } },
    'Live · The answer broke off. It is being written again.',
    '已连接 · 回答中断了，正在重新生成。',
  ],
  [
    'an answer that begins again with another model',
    { conversation: { ...running, takeover: { attempt: 2, began: 'again', model: 'beta' } } },
    'Live · The answer broke off. It is being written again. beta is answering now.',
    '已连接 · 回答中断了，正在重新生成。现在由 beta 回答。',
  ],
  [
    'a second attempt before any text',
    { conversation: { ...running, takeover: { attempt: 2, began: 'fresh', model: null } } },
    'Live · Answering…',
    '已连接 · 正在回答…',
  ],
  [
    'another model before any text',
    { conversation: { ...running, takeover: { attempt: 2, began: 'fresh', model: 'beta' } } },
    'Live · beta is answering now.',
    '已连接 · 现在由 beta 回答。',
  ],
  [
    'an answer that broke off and is done',
    { conversation: { ...idle, takeover: { attempt: 2, began: 'on', model: null } } },
    'Live · Done',
    '已连接 · 已完成',
  ],
  [
    'a connection that came back to a discarded text',
    { resumedAt: at, conversation: { ...running, takeover: { attempt: 2, began: 'again', model: null } } },
    'Live · The answer broke off. It is being written again.',
    '已连接 · 回答中断了，正在重新生成。',
  ],
  [
    'a connection that came back',
    { resumedAt: at, conversation: running },
    `Live · Resumed at ${at.toLocaleTimeString('en')}, nothing lost · Answering…`,
    `已连接 · ${at.toLocaleTimeString('zh-CN')} 已恢复，一字未丢 · 正在回答…`,
  ],
];

describe('the status line', () => {
  test.each(CASES)('shows %s', (_, change, english, chinese) => {
    expect(status(WORDS.en, situation(change))).toBe(english);
    expect(status(WORDS.zh, situation(change))).toBe(chinese);
  });
});

describe('the note below an answer', () => {
  const note = (parts: Partial<Entry>) => ending(WORDS.en, { ...answer(1, 0), ...parts });

  test('is empty if all is well, or the answer has not ended', () => {
    expect(note({})).toBe('');
    expect(note({ end: null, text: '' })).toBe('');
  });

  test.each([
    ['length', WORDS.en.ends.length],
    ['content_filter', WORDS.en.ends.content_filter],
    ['stopped', WORDS.en.ends.stopped],
  ] as const)('says what cut it off: %s', (end, expected) => {
    expect(note({ end })).toBe(expected);
  });

  test('reports an empty answer', () => {
    expect(note({ text: '' })).toBe('The model answered with no text.');
  });

  test('explains a failure in the page’s language if the code is known', () => {
    const error = {
      code: 'model_stalled',
      message: 'The model was silent for 60 seconds: ask again.',
      retryable: true,
    };
    expect(note({ end: 'error', error })).toBe('The answer failed: the model fell silent.');
    expect(ending(WORDS.zh, { text: '', end: 'error', error })).toBe('回答失败：模型没有了动静。');
  });

  test('has the words of the model’s provider, if it gave some', () => {
    const failed = (message: string) => ({
      text: '',
      end: 'error' as const,
      error: { code: 'model_failed', message, retryable: true },
    });
    const quoted = failed('The model at http://127.0.0.1:1 failed (503): ask again. (Overloaded (try\nlater).)');
    expect(ending(WORDS.en, quoted)).toBe('The answer failed: the model’s server failed. (Overloaded (try\nlater).)');
    expect(ending(WORDS.zh, quoted, 2)).toBe('回答失败：模型服务器出错了。（Overloaded (try\nlater).）共尝试了 2 次。');
    const plain = failed('The model at http://127.0.0.1:1 failed (503): ask again.');
    expect(ending(WORDS.en, plain)).toBe('The answer failed: the model’s server failed.');
  });

  test('says how often a failed answer was tried, if more than once', () => {
    const failed = {
      text: 'Half',
      end: 'error',
      error: { code: 'model_failed', message: '', retryable: true },
    } as const;
    expect(ending(WORDS.en, failed, 3)).toBe('The answer failed: the model’s server failed. It was tried 3 times.');
    expect(ending(WORDS.zh, failed, 3)).toBe('回答失败：模型服务器出错了。共尝试了 3 次。');
    expect(ending(WORDS.en, failed, 1)).toBe('The answer failed: the model’s server failed.');
    expect(ending(WORDS.en, { text: 'Whole', end: 'stop' }, 3)).toBe('');
  });

  test('shows the server’s message for an unknown code', () => {
    const error = { code: 'brand_new', message: 'The model is on strike.', retryable: true };
    expect(note({ end: 'error', error })).toBe('The answer failed: The model is on strike.');
  });
});

describe('the reason of a refusal', () => {
  test('is in the page’s language, or the server’s message for an unknown code', () => {
    expect(reason(WORDS.zh, { status: 429, code: 'queue_full', message: 'Wait.' })).toBe(
      '排队的消息太多了，请等回答结束后再发送。',
    );
    expect(reason(WORDS.zh, { status: 418, code: 'brand_new', message: 'I am a teapot.' })).toBe('I am a teapot.');
  });

  test('is the status if a proxy refused it', () => {
    expect(reason(WORDS.en, { status: 502, code: 'status', message: '' })).toBe('The server answered 502.');
    expect(reason(WORDS.zh, { status: 502, code: 'status', message: '' })).toBe('服务器的应答是 502。');
  });
});

describe('a screen reader hears', () => {
  const well = (phase: Moment['phase'], takeover: Moment['takeover'] = null): Moment => ({
    isLost: false,
    phase,
    takeover,
  });
  const said = (before: Moment, now: Moment, conversation = idle) => announcement(WORDS.en, before, now, conversation);

  test('that an answer begins, queued before or not', () => {
    expect(said(well('queued'), well('streaming'), running)).toBe('Answering');
    expect(said(well('idle'), well('streaming'), running)).toBe('Answering');
  });

  test('that it is done', () => {
    expect(said(well('streaming'), well('idle'))).toBe('Done');
  });

  test('how it ended, if it failed or was stopped', () => {
    const stopped = { ...idle, messages: [question(1, 0), { ...answer(1, 0), end: 'stopped' as const }] };
    expect(said(well('streaming'), well('idle'), stopped)).toBe('Stopped.');
  });

  test('that the connection is lost, and that it is back', () => {
    expect(said(well('streaming'), { ...well('streaming'), isLost: true }, running)).toBe('Connection lost');
    expect(said({ ...well('streaming'), isLost: true }, well('streaming'), running)).toBe('Connected again');
  });

  test('that it broke off and is taken up again, once for each attempt and model', () => {
    const broken = { attempt: 2, began: 'again', model: null } as const;
    const heard = (before: Moment['takeover'], now: NonNullable<Moment['takeover']>) =>
      said(well('streaming', before), well('streaming', now), { ...running, takeover: now });
    expect(heard(null, broken)).toBe('The answer broke off. It is being written again.');
    expect(heard(broken, { ...broken })).toBeNull();
    expect(heard(broken, { ...broken, attempt: 3 })).toBe('The answer broke off. It is being written again.');
    expect(heard(broken, { ...broken, model: 'beta' })).toBe(
      'The answer broke off. It is being written again. beta is answering now.',
    );
  });

  test('how often it was tried when it failed', () => {
    const error = { code: 'model_failed', message: '', retryable: true };
    const failed = {
      ...idle,
      messages: [question(1, 0), { ...answer(1, 0), end: 'error' as const, error }],
      attempts: { 1: { count: 3, model: 'alpha' } },
    };
    expect(said(well('streaming'), well('idle'), failed)).toContain('It was tried 3 times.');
  });

  test.each<[string, Moment, Moment]>([
    ['a word more', well('streaming'), well('streaming')],
    ['a message that waits', well('idle'), well('queued')],
    ['the first connection', { ...well(null), isLost: null }, well(null)],
    ['a connection that fails from the beginning', { ...well(null), isLost: null }, { ...well(null), isLost: true }],
    ['an answer that was done before the page attached', well(null), well('idle')],
  ])('nothing about %s', (_, before, now) => {
    expect(said(before, now)).toBeNull();
  });
});
