import { beforeEach, describe, expect, test, vi } from 'vitest';

import { Chance, SEED } from '../../support/chance';
import {
  type Reader,
  TABS,
  allHaveAll,
  opened,
  pass,
  prepareReaders,
  server,
  streams,
  talk,
} from '../../support/readers';

// In milliseconds.
const LONGEST_LATENCY = 3;

let latency: () => number;

beforeEach(() => {
  latency = () => 1;
  prepareReaders(() => latency());
});

/** At its cursor, no reader lacks text or has it twice. */
function allSound(readers: readonly Reader[], hint = ''): void {
  for (const {
    chat: {
      conversation: { cursor, messages },
    },
    tab,
  } of readers) {
    if (cursor !== null) expect(messages, `${tab.name} at ${cursor} ${hint}`).toStrictEqual(server.upTo(cursor));
  }
}

describe('in any order of events', () => {
  test.each(Array.from({ length: 25 }, (_, at) => at))(
    'in schedule %i, each living tab has the whole conversation in the end',
    async (at) => {
      const chance = new Chance(SEED + at);
      const hint = `SEED=${SEED}`;
      latency = () => chance.below(LONGEST_LATENCY + 1);
      vi.spyOn(Math, 'random').mockImplementation(() => chance.below(1_000) / 1_000);
      const readers = opened(TABS);
      const doings: (() => unknown)[] = [
        () => readers.length < TABS && readers.push(...opened(1)),
        () => readers.length > 1 && readers.splice(chance.below(readers.length), 1)[0]!.tab.kill(),
        () => {
          const leaving = chance.of(readers);
          if (readers.length === 1 || leaving.tab.isFrozen) return;
          readers.splice(readers.indexOf(leaving), 1);
          leaving.close();
        },
        () => chance.of(readers).tab.freeze(),
        () => chance.of(readers).tab.thaw(),
        () => chance.of(readers).show(chance.below(2) > 0),
        () => server.ask('Well?'),
        () => talk(chance.below(20)),
        () => talk(1),
        () => server.replaceWorker(),
        () => server.end(),
        () => server.cut(),
        () => {
          server.isUp = !server.isUp;
          if (!server.isUp) server.cut();
        },
      ];
      for (let step = 0; step < 150; step += 1) {
        await chance.of(doings)();
        await pass(chance.of([0, 1, 2, 5, 50, 500, 3_000, 25_000]));
        allSound(readers, hint);
        // The former holder of a stolen lock keeps its stream until it is told, which takes as long as any message.
        if (streams().length > 1) await pass(LONGEST_LATENCY);
        expect(streams().length, hint).toBeLessThan(2);
      }
      server.isUp = true;
      for (const reader of readers) {
        await reader.tab.thaw();
        reader.show(true);
      }
      await pass(120_000);
      allHaveAll(readers, hint);
      expect(streams(), hint).toHaveLength(1);
      expect(new Set(readers.map(({ kind }) => kind)), hint).toStrictEqual(new Set(['live']));
    },
  );
});
