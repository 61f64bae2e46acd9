// The reader's preferences, for all tabs of this browser.

import { type Language, languageOf, WORDS } from '../words/words';
import { sharedStore } from './webStorage';

const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

export interface Preferences {
  theme: Theme;
  language: Language | 'auto';
  /** Whether the sidebar is shown beside the conversation on a wide screen. */
  sidebar: boolean;
  /** The chosen model; null for the server's default. */
  model: string | null;
}

export const PREFERENCES = 'preferences';

const LANGUAGES = Object.keys(WORDS) as Language[];
const ORDINARY: Preferences = { theme: 'auto', language: 'auto', sidebar: true, model: null };

export function preferences(): Preferences {
  // Another version of the page may have stored other values, and an unknown language has no texts.
  const kept = { ...(sharedStore.get(PREFERENCES) as Partial<Record<keyof Preferences, unknown>> | null) };
  return {
    theme: THEMES.find((theme) => theme === kept.theme) ?? ORDINARY.theme,
    language: LANGUAGES.find((language) => language === kept.language) ?? ORDINARY.language,
    sidebar: typeof kept.sidebar === 'boolean' ? kept.sidebar : ORDINARY.sidebar,
    model: typeof kept.model === 'string' ? kept.model : ORDINARY.model,
  };
}

export function prefer(change: Partial<Preferences>): Preferences {
  const all = { ...preferences(), ...change };
  sharedStore.set(PREFERENCES, all);
  return all;
}

export function chosenLanguage({ language }: Preferences): Language {
  return language === 'auto' ? languageOf(navigator.languages) : language;
}
