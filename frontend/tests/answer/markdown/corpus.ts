// Texts as models write them, malformed ones too, and random cuts of them.

import type { Chance } from '../../support/chance';

/** The lengths at which a growing `text` is parsed. */
export function* cuts(text: string, chance: Chance, longest: number): Generator<number> {
  for (let at = 0; at < text.length;) {
    at = Math.min(text.length, at + 1 + chance.below(longest));
    yield at;
  }
}

const ENGLISH =
  'The relay keeps what it sent, so a reader that comes back hears the rest. Nobody has to ask twice, and *nothing* is lost on the way. ';
const CHINESE = '读者断线之后重新连接，服务器从断开的地方继续发送。**注意：**请不要重复提问，因为答案还在写。';

export function repeated(unit: (i: number) => string, length: number): string {
  let text = '';
  for (let i = 0; text.length < length; i += 1) text += unit(i);
  return text;
}

export const paragraph = (length: number): string =>
  repeated(
    (i) => (i % 3 === 2 ? CHINESE : i % 7 === 5 ? 'See `code` and [a link](https://example.com/a?b=c). ' : ENGLISH),
    length,
  );
export const list = (length: number): string =>
  repeated(
    (i) =>
      `- item ${i} says **something** about \`x${i}\`\n${i % 9 === 4 ? '  - and a part of it\n    goes on\n' : ''}`,
    length,
  );
export const table = (length: number): string =>
  `| n | what | 说明 |\n|--:|:--|---|\n${repeated((i) => `| ${i} | row *${i}* | 第 ${i} 行 |\n`, length)}`;
export const fence = (length: number): string =>
  `\`\`\`ts\n${repeated((i) => `export const value${i}: number = compute(${i}, "text ${i}"); // line ${i}\n${i % 10 === 3 ? '\n/* a comment\n   of two lines */\n' : ''}`, length)}\`\`\`\n`;
export const mixed = (length: number): string =>
  repeated(
    (i) =>
      [
        `## Part ${i}\n\n${ENGLISH}${ENGLISH}\n\n`,
        `${CHINESE}\n${CHINESE}\n\n`,
        `1. one\n2. two\n   \`\`\`sh\n   echo ${i}\n   \`\`\`\n3. three\n\n`,
        `\`\`\`python\ndef f${i}(x):\n    return x * ${i}\n\`\`\`\n\n`,
        `| a | b |\n|---|---|\n| ${i} | $x_${i}$ |\n\n`,
        `$$\n\\int_0^${i} x\\,dx\n$$\n\nand \\(a^2 + b^2\\) costs $5 and $6.\n\n`,
        `> quoted ${i}\n> - with a list\n\n---\n\n`,
      ][i % 7] ?? '',
    length,
  );

export const CORPUS: Record<string, string> = {
  english: `# Title\n\n${ENGLISH}\n\n${ENGLISH.repeat(20)}\n\nLast *words* and **more**.\n`,
  chinese: `${CHINESE.repeat(40)}\n\n第二段。\n`,
  'nested lists':
    '1. one\n   - a\n     - deep\n\n       with a paragraph\n   - b\n2. two\n\n   loose\n\n3. three\n\nafter\n\n- x\n- y\n\n\n- z\n* other\n* list\n- [ ] open\n- [x] done\n',
  tables: `| a | b |\n|---|:-:|\n| 1 | **2** |\n| \`x\\|y\` | [l](http://a.b) |\n\ntext | not\n\nafter\n${table(3_000)}\nend\n`,
  fences: `before\n\`\`\`js\nlet a = 1;\n\n\`\`\`\nbetween\n~~~~\n\`\`\`\n~~~\n~~~~\n\n    indented\n\n    code\n\n- item\n  \`\`\`py\n  x = 1\n  \`\`\`\n\n${fence(6_000)}end\n\n   \`\`\`\n   three\n  two\n   \`\`\`\n`,
  'an indented fence': '   ```js\n   three\n  two\n     five\n   ```\nafter\n',
  math: 'Inline \\(a_1 * b_2\\) and $x^2$ but $5 and $6.\n\n$$\nx = 1\n\ny = 2\n$$\n\n\\[\n\\sum_{i} x_i\n\\]\n\n$$a$$ in a line\n\nunclosed \\( x\n',
  definitions: `[early][one] and [late][two] and [three].\n\n[one]: https://one.example\n\n${ENGLISH.repeat(8)}\n\n[two]: https://two.example 'a title'\n[three]: <https://three.example>\n`,
  html: '<div onclick="alert(1)">\n\n**bold** <b>x</b>\n\n</div>\n<script>\nalert(1)\n</script>\n\n<!-- no -->\n',
  unclosed: '**bold *it `code [link](http://x\n\n> quote **\n\n- *a\n- `b\n\n```\nfence **that** never\n\nends\n',
  setext: 'Title\n===\n\nother\n---\n\npara\n***\n\nline\nline\n-\n',
  quotes: '> a\n> b\nlazy\n\n> > deep\n> - l\n>   m\n\n> ```\n> code\n> ```\nout\n',
  'line ends': 'one\r\ntwo\r\n\r\n- a\r\n- b\r\n\r\n```\r\ncode\r\n```\r\nend\u0000\r',
  'a long list': `${list(5_000)}\nand after\n`,
  'a loose list': `${repeated((i) => `${i + 3}. item ${i}\n\n   more of it\n\n`, 4_000)}end\n`,
  'a list that was loose once': `- one\n\n- two\n${repeated((i) => `- item ${i}\n`, 3_000)}`,
  'a long paragraph': paragraph(9_000),
  'a long paragraph of lines': `${repeated((i) => `line ${i} of many that are one paragraph\n`, 5_000)}\nend\n`,
  mixed: mixed(8_000),
};
