import { beforeEach, expect, test } from 'vitest';

import { host, loaded, prepareAnswers, show } from '../support/answers';

beforeEach(prepareAnswers);

test('a formula shows its source until KaTeX is loaded, and half a formula is not rendered', async () => {
  show({ text: '\\(x^2\\)\n\n$$\ny', open: true });
  expect([...host.querySelectorAll('.formula')].map((one) => one.textContent)).toEqual(['x^2', 'y']);
  await loaded();
  expect([...host.querySelectorAll('.formula')].map((one) => one.textContent)).toEqual(['⟨x^2⟩', 'y']);
});
