import { beforeEach, describe, expect, test, vi } from 'vitest';

import { host, loaded, pass, prepareAnswers, show } from '../support/answers';

beforeEach(prepareAnswers);

describe('a code block', () => {
  const source = 'const a = "<b>";\n\n\tif (a) {\n  }\n';
  const button = (): HTMLButtonElement => host.querySelector('button') ?? expect.fail('no button');

  test('copies exactly its source', async () => {
    const writeText = vi.fn(async () => undefined);
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(writeText).toHaveBeenCalledWith(source);
    expect(button().textContent).toBe('Copied');
    await pass(3_000);
    expect(button().textContent).toBe('Copy');
    vi.unstubAllGlobals();
  });

  test('copies by a selected field where there is no clipboard', async () => {
    vi.stubGlobal('navigator', {});
    let copied = '';
    document.execCommand = () => {
      copied = document.querySelector('textarea')?.value ?? '';
      return true;
    };
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(copied).toBe(source);
    expect(document.querySelector('textarea')).toBe(null);
    expect(button().textContent).toBe('Copied');
    vi.unstubAllGlobals();
  });

  test('reports on its button that it could not copy, and selects the code', async () => {
    vi.stubGlobal('navigator', { clipboard: { writeText: async () => Promise.reject(new Error('denied')) } });
    document.execCommand = () => false;
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    button().click();
    await pass(1);
    expect(button().textContent).toBe('Could not copy');
    expect(document.getSelection()?.toString()).toContain('const a');
    vi.unstubAllGlobals();
  });

  test('gets its colours when it is complete, and keeps its text', async () => {
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    await loaded();
    expect(host.querySelector('.token-keyword')?.textContent).toBe('const');
    expect(host.querySelector('pre')?.textContent).toBe(source);
    expect(host.querySelector('.code-language')?.textContent).toBe('js');
  });

  test('gets no colours while it is selected', async () => {
    show({ text: `\`\`\`js\n${source}\`\`\``, open: false });
    document.getSelection()?.selectAllChildren(host.querySelector('pre') ?? host);
    await loaded();
    expect(host.querySelector('.token-keyword')).toBe(null);
    document.getSelection()?.removeAllRanges();
    document.dispatchEvent(new Event('selectionchange'));
    await pass(100);
    expect(host.querySelector('.token-keyword')?.textContent).toBe('const');
  });
});
