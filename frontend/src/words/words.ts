// The page's texts in each language. `en` defines the type: a language that lacks a text does not compile.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

import { en, type Words } from './en';
import { zh } from './zh';

export type Language = 'en' | 'zh';
export type { Words };

export const WORDS: Record<Language, Words> = { en, zh };

/** The first language of a browser's list (BCP 47) that the page has, else English. */
export function languageOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const primary = tag.toLowerCase().split('-')[0];
    if (primary === 'zh' || primary === 'en') return primary;
  }
  return 'en';
}

export const WordsContext = createContext<Words>(en);

export function useWords(): Words {
  return useContext(WordsContext);
}

const HEAD_CHARS = 400;
const HAN = /\p{Script=Han}/gu;
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}]/gu;

/** `zh` if the beginning of a text is Chinese, for its face and for screen readers; otherwise undefined. */
export function languageIn(text: string): 'zh' | undefined {
  const head = text.slice(0, HEAD_CHARS);
  const [han, kana] = [HAN, KANA].map((script) => head.match(script)?.length ?? 0) as [number, number];
  // Japanese has as many Han characters, with kana between them. A few kana do not make a Chinese text Japanese.
  return han > 0 && han * 5 >= head.length && kana * 5 < han ? 'zh' : undefined;
}
