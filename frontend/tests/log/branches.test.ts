import { describe, expect, test } from 'vitest';

import { type Choices, type Step, path, tip } from '../../src/log/branches';
import type { Entry } from '../../src/log/events';
import { Chance, SEED } from '../support/chance';
import { linear, question, turn } from '../support/entries';

const turns = (steps: readonly Step[]) => steps.map((step) => step.turn);
const of = (steps: readonly Step[], number: number) => steps.find((step) => step.turn === number)!;

describe('a conversation without branches', () => {
  test('is a path of all turns without alternatives', () => {
    const messages = linear(3);
    expect(path(messages, {})).toStrictEqual(
      [1, 2, 3].map((number) => ({
        turn: number,
        parent: number - 1,
        question: messages[number * 2 - 2],
        answer: messages[number * 2 - 1],
        questions: [number],
        answers: [number],
      })),
    );
  });

  test('may end with an unanswered question', () => {
    const steps = path([...linear(1), question(2, 1)], {});
    expect(of(steps, 2).answer).toBeNull();
    expect(tip(steps)).toBe(2);
  });

  test('is empty before the first question, whose parent is 0', () => {
    expect(path([], {})).toStrictEqual([]);
    expect(tip([])).toBe(0);
  });
});

describe('an edited question', () => {
  const messages = [...linear(3), ...turn(4, 1, 'Otherwise?')];

  test('is an alternative of the first one, and the newest is shown', () => {
    const steps = path(messages, {});
    expect(turns(steps)).toStrictEqual([1, 4]);
    expect(of(steps, 4)).toMatchObject({ questions: [2, 4], answers: [4] });
  });

  test('leaves the first one and its followers, which can be chosen', () => {
    const steps = path(messages, { 1: 2 });
    expect(turns(steps)).toStrictEqual([1, 2, 3]);
    expect(of(steps, 2)).toMatchObject({ questions: [2, 4], answers: [2] });
    expect(tip(steps)).toBe(3);
  });

  test('may be the first question', () => {
    expect(turns(path([...linear(2), ...turn(3, 0, 'Anew')], {}))).toStrictEqual([3]);
  });
});

describe('a regenerated answer', () => {
  const messages = [...linear(2), ...turn(3, 1, 'Question 2')];

  test('is one of two answers to one question', () => {
    const steps = path(messages, {});
    expect(turns(steps)).toStrictEqual([1, 3]);
    expect(of(steps, 3)).toMatchObject({ questions: [3], answers: [2, 3] });
    expect(of(path(messages, { 1: 2 }), 2)).toMatchObject({ questions: [2], answers: [2, 3] });
  });

  test('is counted apart from the alternatives of its question', () => {
    // A question, an edited one, its regenerated answer, and the first one's.
    const mixed = [...linear(2), ...turn(3, 1, 'Otherwise?'), ...turn(4, 1, 'Otherwise?'), ...turn(5, 1, 'Question 2')];
    expect(of(path(mixed, { 1: 2 }), 2)).toMatchObject({ questions: [2, 4], answers: [2, 5] });
    expect(of(path(mixed, { 1: 3 }), 3)).toMatchObject({ questions: [5, 3], answers: [3, 4] });
    expect(of(path(mixed, { 1: 4 }), 4)).toMatchObject({ questions: [5, 4], answers: [3, 4] });
    expect(of(path(mixed, {}), 5)).toMatchObject({ questions: [5, 4], answers: [2, 5] });
  });
});

describe('without a choice', () => {
  test('the path leads to the newest turn, even if its branch is older', () => {
    // Turn 4 follows turn 2, whose sibling is turn 3.
    const messages = [...linear(2), ...turn(3, 1, 'Otherwise?'), ...turn(4, 2)];
    expect(turns(path(messages, {}))).toStrictEqual([1, 2, 4]);
  });

  test('the path leads from a chosen turn to the newest turn below it', () => {
    const messages = [...linear(2), ...turn(3, 1, 'Otherwise?'), ...turn(4, 3), ...turn(5, 3, 'Else?'), ...turn(6, 2)];
    expect(turns(path(messages, { 1: 3 }))).toStrictEqual([1, 3, 5]);
  });

  test('a choice of a turn that is no child of the parent is ignored', () => {
    const messages = [...linear(3), ...turn(4, 1, 'Otherwise?')];
    const elsewhere: Choices[] = [{ 1: 3 }, { 1: 99 }, { 0: 4 }, { 77: 1 }];
    for (const choices of elsewhere) expect(turns(path(messages, choices))).toStrictEqual([1, 4]);
  });
});

describe('a turn whose parent is missing', () => {
  const messages = [...turn(4, 3), ...turn(5, 4)];

  test('becomes a root and keeps its followers', () => {
    expect(turns(path(messages, {}))).toStrictEqual([4, 5]);
  });

  test('can be chosen among the other roots', () => {
    const branched = [...messages, ...turn(6, 3, 'Question 4'), ...turn(7, 3, 'Otherwise?')];
    const steps = path(branched, {});
    expect(of(steps, 7)).toMatchObject({ parent: 0, questions: [6, 7], answers: [7] });
    expect(turns(path(branched, { 0: 4 }))).toStrictEqual([4, 5]);
    expect(of(path(branched, { 0: 6 }), 6)).toMatchObject({ questions: [6, 7], answers: [4, 6] });
  });
});

/** Counts how often the messages are read, which shows a quadratic cost on any machine. */
function counted(messages: readonly Entry[]): { messages: readonly Entry[]; reads: () => number } {
  let reads = 0;
  const watched = messages.map(
    (entry) =>
      new Proxy(entry, {
        get(target, name, receiver) {
          reads += 1;
          return Reflect.get(target, name, receiver) as unknown;
        },
      }),
  );
  return { messages: watched, reads: () => reads };
}

describe('each of ten thousand turns is read only a few times', () => {
  const COUNT = 10_000;

  test('in one chain', () => {
    const { messages, reads } = counted(linear(COUNT));
    expect(path(messages, {})).toHaveLength(COUNT);
    expect(reads()).toBeLessThan(messages.length * 20);
  });

  test('as siblings', () => {
    const { messages, reads } = counted(Array.from({ length: COUNT }, (_, at) => turn(at + 1, 0, `${at % 2}`)).flat());
    const steps = path(messages, {});
    expect(steps).toHaveLength(1);
    expect(steps[0]!.answers).toHaveLength(COUNT / 2);
    expect(reads()).toBeLessThan(messages.length * 20);
  });
});

describe('in any tree', () => {
  function grown(chance: Chance): Entry[] {
    const count = 1 + chance.below(40);
    return Array.from({ length: count }, (_, at) =>
      turn(at + 1, chance.below(at + 1), chance.of(['a', 'b', 'c'])),
    ).flat();
  }

  test('each turn can be reached by choices', () => {
    const chance = new Chance();
    for (let round = 0; round < 200; round += 1) {
      const messages = grown(chance);
      const parents = new Map(messages.map((entry) => [entry.turn, entry.parent]));
      for (const wanted of parents.keys()) {
        const choices: Record<number, number> = {};
        for (let at = wanted; at !== 0; at = parents.get(at)!) choices[parents.get(at)!] = at;
        expect(turns(path(messages, choices)), `SEED=${SEED}`).toContain(wanted);
      }
    }
  });

  test('the path goes from parent to child, and its steps reach each sibling', () => {
    const chance = new Chance(SEED + 1);
    for (let round = 0; round < 200; round += 1) {
      const messages = grown(chance);
      const choices: Choices = Object.fromEntries(messages.map(({ turn: number, parent }) => [parent, number]));
      const steps = path(messages, chance.of([choices, {}]));
      steps.forEach((step, at) => {
        expect(step.parent, `SEED=${SEED}`).toBe(steps[at - 1]?.turn ?? 0);
        expect(step.questions).toContain(step.turn);
        expect(step.answers).toContain(step.turn);
        expect(reached(messages, step), `SEED=${SEED}`).toStrictEqual(siblings(messages, step.parent));
      });
      expect(
        messages.some(({ parent }) => parent === tip(steps)),
        `SEED=${SEED}`,
      ).toBe(false);
    }
  });

  const siblings = (messages: readonly Entry[], parent: number) =>
    new Set(messages.filter((entry) => entry.parent === parent).map((entry) => entry.turn));

  /** All turns that a reader can reach with the arrows of a question and its answers. */
  function reached(messages: readonly Entry[], { turn: number, parent }: Step): Set<number> {
    const found = new Set([number]);
    for (const one of found) {
      const step = of(path(messages, { ...above(messages, parent), [parent]: one }), one);
      for (const other of [...step.questions, ...step.answers]) found.add(other);
    }
    return found;
  }

  /** The choices that lead to a turn. */
  function above(messages: readonly Entry[], number: number): Choices {
    const choices: Record<number, number> = {};
    const parentOf = (child: number) => messages.find((entry) => entry.turn === child)!.parent;
    for (let at = number; at !== 0; at = parentOf(at)) choices[parentOf(at)] = at;
    return choices;
  }
});
