// A conversation as a Markdown document, for export.

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

/** A file name that is valid on every file system. */
export function fileName(title: string): string {
  const plain = trimmed(title.replace(/[\p{C}<>:"/\\|?*]+/gu, ' ').replace(/\s+/g, ' '));
  // Cut by code points: the name must not end with half a character.
  // oxlint-disable-next-line typescript/no-misused-spread
  return `${trimmed([...plain].slice(0, 60).join('')) || 'midsentence'}.md`;
}

/** Without dots and spaces at both ends: a leading dot hides a file, and Windows drops trailing ones. */
function trimmed(name: string): string {
  return name.replace(/^[\s.]+|[\s.]+$/g, '');
}
