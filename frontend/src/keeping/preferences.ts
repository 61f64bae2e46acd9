// What a person chose for all tabs of this browser.

import { type Language, languageOf } from '../words/words';
import { shared } from './storage';

export type Theme = 'auto' | 'light' | 'dark';

export interface Preferences {
  theme: Theme;
  language: Language | 'auto';
  /** Whether the list of conversations is shown beside the conversation, where there is room. */
  sidebar: boolean;
}

export const PREFERENCES = 'preferences';

const ORDINARY: Preferences = { theme: 'auto', language: 'auto', sidebar: true };

export function preferences(): Preferences {
  const kept = shared.recall(PREFERENCES);
  return typeof kept === 'object' ? { ...ORDINARY, ...kept } : ORDINARY;
}

export function prefer(change: Partial<Preferences>): Preferences {
  const all = { ...preferences(), ...change };
  shared.remember(PREFERENCES, all);
  return all;
}

export function spoken({ language }: Preferences): Language {
  return language === 'auto' ? languageOf(navigator.languages) : language;
}
