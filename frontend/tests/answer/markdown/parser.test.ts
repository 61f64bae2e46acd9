import { describe, expect, test, vi } from 'vitest';

import { withBidiMarked, withoutBidi } from '../../../src/answer/bidi';
import { chunksOf, GrowingChunks } from '../../../src/answer/markdown/codeChunks';
import { safeHref } from '../../../src/answer/markdown/safeHref';
import { normalise } from '../../../src/answer/markdown/parser';
import { segments } from '../../../src/answer/markdown/textSplitting';
import { IncrementalParser } from '../../../src/answer/markdown/incrementalParser';
import type { Node } from '../../../src/answer/markdown/syntaxTree';
import { fence } from './corpus';

const treeOf = (text: string): readonly Node[] => new IncrementalParser().finish(text);

function find(nodes: readonly Node[], kind: Node['kind']): Node[] {
  return nodes.flatMap((node) => [
    ...(node.kind === kind ? [node] : []),
    ...('children' in node ? find(node.children, kind) : []),
  ]);
}
function tags(nodes: readonly Node[]): string[] {
  return nodes.flatMap((node) => (node.kind === 'element' ? [node.tag, ...tags(node.children)] : []));
}
function words(nodes: readonly Node[]): string {
  return nodes
    .map((node) =>
      'children' in node
        ? words(node.children)
        : node.kind === 'text' || node.kind === 'code'
          ? node.text
          : node.kind === 'formula'
            ? node.source
            : node.kind === 'fence'
              ? node.chunks.join('')
              : '',
    )
    .join('');
}
const formulas = (text: string): string[] =>
  find(treeOf(text), 'formula').map((node) => (node.kind === 'formula' ? node.source : ''));

describe('a link', () => {
  test.each([
    ['https://a.example/x?y=1#z', 'https://a.example/x?y=1#z'],
    ['HTTP://A.example', 'http://a.example/'],
    ['mailto:a@b.example', 'mailto:a@b.example'],
  ])('%s is allowed', (raw, href) => expect(safeHref(raw)).toBe(href));

  test.each([
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\tscript:alert(1)',
    '\u0001javascript:alert(1)',
    ' javascript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://a/b',
    'ftp://a.example',
    '//a.example',
    '/path',
    '#x',
    '',
    'tel:1',
    'about:blank',
  ])('%s is not allowed', (raw) => expect(safeHref(raw)).toBe(null));

  test('that is not allowed is shown as its text', () => {
    expect(find(treeOf('[press **me**](javascript:alert(1))'), 'link')).toEqual([]);
    expect(words(treeOf('[press **me**](javascript:alert(1))'))).toBe('press me');
  });

  test('is made of a URL with a scheme, and not of a file name', () => {
    expect(find(treeOf('https://a.example/x and main.py and a@b.example'), 'link')).toHaveLength(1);
  });

  test('replaces an image', () => {
    expect(treeOf('![a *cat*](https://a.example/cat.png)')).toEqual([
      {
        kind: 'element',
        tag: 'p',
        children: [{ kind: 'link', href: 'https://a.example/cat.png', children: [{ kind: 'text', text: 'a cat' }] }],
      },
    ]);
    expect(find(treeOf('[![a](https://a.example/x.png)](https://b.example)'), 'link')).toHaveLength(1);
  });
});

describe('math', () => {
  test.each([
    ['\\(a_1 * b_2\\)', ['a_1 * b_2']],
    ['\\[x\\]', ['x']],
    ['$$\na\n\nb\n$$', ['a\n\nb']],
    ['so $x^2$ is', ['x^2']],
    ['$n$ and $f(x)$', ['n', 'f(x)']],
    ['a $10$ b', ['10']],
    ['若 $x>0$ 则', ['x>0']],
    ['设$x=1$。', ['x=1']],
  ])('is found in %s', (text, sources) => expect(formulas(text)).toEqual(sources));

  test.each([
    '$5 and $6',
    '$5-$6',
    '$5/month and 10$',
    'US$5 = HK$6',
    '$HOME and $PATH',
    '$PATH=$HOME/bin',
    'from $1,000 to $2,000.',
    '\\$x$',
    '`$x$`',
    '\\\\(x\\\\)',
    '$ x $',
    '$$',
    '\\(unclosed',
    'it costs $5 (about €4) and $7_000',
  ])('is not found in %s', (text) => expect(formulas(text)).toEqual([]));
});

test('the end of unclosed formulas is searched once, not once each', () => {
  const indexOf = vi.spyOn(String.prototype, 'indexOf');
  treeOf('\\( '.repeat(5_000));
  const looks = indexOf.mock.calls.filter(([mark]) => mark === '\\)').length;
  indexOf.mockRestore();
  expect(looks).toBeLessThan(5);
});

describe('emphasis', () => {
  test('ends at a Chinese stop', () => {
    expect(tags(treeOf('**注意：**请不要'))).toEqual(['p', 'strong']);
    expect(tags(treeOf('这是**“重点”**内容'))).toEqual(['p', 'strong']);
  });
});

describe('a text', () => {
  test('keeps its tags as text', () => {
    const text = '<b>x</b> <script>alert(1)</script>';
    expect(words(treeOf(text))).toBe(text);
  });

  test('does not vanish if it is nested too deep', () => {
    expect(words(treeOf(`${'> '.repeat(500)}deep`))).toContain('deep');
    expect(words(treeOf(`${'- '.repeat(500)}deep`))).toContain('deep');
  });

  test('has one kind of line end and no NUL', () => {
    expect(normalise('a\r\nb\rc\0d\r')).toBe('a\nb\nc\uFFFDd');
  });

  test('decodes known entities and keeps unknown ones', () => {
    expect(words(treeOf('&mdash;&hearts;&nonsense;&constructor;&amp'))).toBe('—♥&nonsense;&constructor;&amp');
  });

  test('cannot be reordered', () => {
    expect(withoutBidi('a\u202Eb\u2066c')).toBe('abc');
    expect(withBidiMarked('a\u202Eb')).toBe('a⟦U+202E⟧b');
  });

  test('in segments is the same text, and growth moves no end of a segment', () => {
    for (const text of ['word '.repeat(500), '中文，'.repeat(500), 'x'.repeat(3_000), `x${'😀'.repeat(2_000)}`]) {
      const parts = segments(text);
      expect(parts.join('')).toBe(text);
      expect(parts.every((part) => part.isWellFormed())).toBe(true);
      expect(segments(text.slice(0, 1_500)).slice(0, -1)).toEqual(
        parts.slice(0, segments(text.slice(0, 1_500)).length - 1),
      );
    }
  });

  test.each([
    '['.repeat(10_000),
    `a ${'*'.repeat(10_000)}`,
    '*a '.repeat(20_000),
    '$a '.repeat(20_000),
    '\\('.repeat(20_000),
    'x'.repeat(200_000),
    '>'.repeat(10_000),
    `a ${'`'.repeat(10_000)}`,
    'a\uD800b',
    '\uDC00',
  ])('of marks only is parsed (case %#)', (text) => expect(words(treeOf(text)).length).toBeGreaterThan(0));
});

describe('code', () => {
  test('in chunks is exactly the code', () => {
    const code = fence(10_000);
    const growing = new GrowingChunks();
    for (const line of code.split(/(?<=\n)/)) growing.push(line);
    expect(chunksOf(code).join('')).toBe(code);
    expect(growing.chunks('')).toEqual(chunksOf(code));
  });
});
