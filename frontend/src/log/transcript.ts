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
  const plain = trimmed(title.replace(/[\p{C}<>:"/\\|?*]+/gu, ' ').replace(/\s+/g, ' '));
  // Cut by code points, or half a character would stand at the end.
  // oxlint-disable-next-line typescript/no-misused-spread
  return `${trimmed([...plain].slice(0, 60).join('')) || 'midsentence'}.md`;
}

/** A dot in front hides a file, and Windows drops those, and spaces, at an end. */
function trimmed(name: string): string {
  return name.replace(/^[\s.]+|[\s.]+$/g, '');
}
