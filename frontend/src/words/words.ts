// What the page says, in every language that it speaks. `en` is the measure: another language that lacks a sentence does
// not compile.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

import { en, type Words } from './en';
import { zh } from './zh';

export type Language = 'en' | 'zh';
export type { Words };

export const WORDS: Record<Language, Words> = { en, zh };

/** The language of a browser's list (BCP 47): the first that the page speaks, else English. */
export function languageOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const primary = tag.toLowerCase().split('-')[0];
    if (primary === 'zh' || primary === 'en') return primary;
  }
  return 'en';
}

export const Spoken = createContext<Words>(en);

export function useWords(): Words {
  return useContext(Spoken);
}

const HEAD_CHARS = 400;
const HAN = /\p{Script=Han}/gu;
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}]/gu;

/** `zh` for a text that is Chinese by its beginning, so that it is set, and read out, as such; else nothing is claimed. */
export function languageIn(text: string): 'zh' | undefined {
  const head = text.slice(0, HEAD_CHARS);
  const [han, kana] = [HAN, KANA].map((script) => head.match(script)?.length ?? 0) as [number, number];
  // Japanese has as many, with kana between them; a の on a shop's sign makes no Japanese.
  return han > 0 && han * 5 >= head.length && kana * 5 < han ? 'zh' : undefined;
}
