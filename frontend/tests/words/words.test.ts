import { describe, expect, test } from 'vitest';

import { languageOf } from '../../src/words/words';

describe('the language of the page', () => {
  test.each([
    [['zh-Hant-TW', 'en'], 'zh'],
    [['en-GB', 'zh'], 'en'],
    [['fr-CH', 'ZH-cn', 'en'], 'zh'],
  ] as const)('of %j is the first that it speaks', (wanted, spoken) => {
    expect(languageOf(wanted)).toBe(spoken);
  });

  test.each([[[]], [['fr', 'de-AT']], [['zhx', '']]])('of %j, none of which it speaks, is English', (wanted) => {
    expect(languageOf(wanted)).toBe('en');
  });
});
