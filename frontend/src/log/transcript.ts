// A conversation as a Markdown document, for whoever takes it along.

import type { Step } from './branches';

interface Labels {
  you: string;
  assistant: string;
}

export function markdown(title: string, steps: readonly Step[], { you, assistant }: Labels): string {
  const parts = steps.flatMap(({ question, answer }) => [
    `## ${you}\n\n${question.text}`,
    ...(answer === null ? [] : [`## ${assistant}\n\n${answer.text}`]),
  ]);
  return `${[`# ${title.replace(/\s+/g, ' ')}`, ...parts].join('\n\n')}\n`;
}

/** A name that every file system takes. */
export function fileName(title: string): string {
  const plain = title.replace(/[\p{C}<>:"/\\|?*]+/gu, ' ').replace(/\s+/g, ' ').trim().replace(/^\.+|\.+$/g, '');
  return `${[...plain].slice(0, 60).join('').trim() || 'midsentence'}.md`;
}
