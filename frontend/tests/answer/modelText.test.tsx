import { render } from 'preact';
import { beforeEach, describe, expect, test } from 'vitest';

import { cuts } from './markdown/corpus';
import { answer, host, prepareAnswers, show, stream } from '../support/answers';
import { Chance, SEED } from '../support/chance';

beforeEach(prepareAnswers);

describe('the text of a model', () => {
  const attacks = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg/onload=alert(1)>',
    '<iframe src="javascript:alert(1)"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '[x](javascript:alert(1))',
    '[x](JAVASCRIPT:alert(1))',
    '[x](java&#10;script:alert(1))',
    '[x](&#x6A;avascript:alert(1))',
    '<javascript:alert(1)>',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '![x](javascript:alert(1))',
    '![x](https://spy.example/p.gif)',
    '![x" onerror="alert(1)](https://a.example)',
    '[x]: javascript:alert(1)\n\n[x]',
    '[x](https://a.example "onmouseover=alert(1)")',
    '```"><script>alert(1)</script>\n<script>\n```',
    '`<script>`',
    '| <script> |\n|---|\n| <img src=x onerror=alert(1)> |',
    '\\(\\href{javascript:alert(1)}{x}\\)',
    '$$\\includegraphics{https://spy.example/x.png}$$',
    '<style>*{display:none}</style>',
    '<form action=//evil.example><input>',
    '<!--',
    '<base href="//evil.example">',
    '<meta http-equiv=refresh content=0>',
    '&lt;script&gt;alert(1)&lt;/script&gt;',
  ];

  test.each(attacks)('%s does nothing, streamed in pieces of any size', async (attack) => {
    for (const longest of [1, 5, 100]) {
      render(null, host);
      await stream(`text ${attack}\n\n${attack}\n`, cuts(`text ${attack}\n\n${attack}\n`, new Chance(SEED), longest));
      expect(host.querySelector('script, img, svg, iframe, style, form, base, meta, object, embed, input, video')).toBe(
        null,
      );
      for (const element of host.querySelectorAll('*')) {
        for (const { name } of element.attributes) expect(name).not.toMatch(/^on|^style$|^src$/);
        const href = element.getAttribute('href');
        if (href !== null) expect(href).toMatch(/^(https?|mailto):/);
        if (href !== null) expect(element.getAttribute('rel')).toBe('noopener noreferrer nofollow');
      }
    }
  });

  test('cannot reorder the text beside it', () => {
    show({ text: 'a\u202Eb `c\u202Ed`\n\n```\ne\u2066f\n```', open: false });
    expect(answer().textContent).not.toMatch(/[\u202A-\u202E\u2066-\u2069]/);
    expect(answer().querySelector('pre')?.textContent).toBe('e⟦U+2066⟧f\n');
  });

  test('may end with half a surrogate pair', async () => {
    await stream('a \uD83D\uDE00 b \uD800 c', [3, 4, 6]);
    expect(answer().textContent).toContain('😀');
  });
});
