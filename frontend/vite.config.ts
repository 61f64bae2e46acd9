import { defineConfig } from 'vitest/config';

// Where the server looks for the page, and at which address it serves it (server/midsentence_server/page.py).
const OUTPUT = '../server/midsentence_server/page';
const BASE = '/page/';

export default defineConfig({
  base: BASE,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: OUTPUT,
    emptyOutDir: true,
    target: 'es2023',
    // The policy of the page admits no font and no picture that stands in a style sheet.
    assetsInlineLimit: 0,
    // Browsers that have modules preload them; the helper for others would be inline code.
    modulePreload: { polyfill: false },
    // The licences of what is bundled, shipped beside it.
    license: { fileName: 'licenses.md' },
  },
  test: {
    include: ['tests/**/*.test.{ts,tsx}'],
    environment: 'happy-dom',
  },
});
