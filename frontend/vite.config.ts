import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// Where the server looks for the page, and at which address it serves it (server/midsentence_server/page.py). The build
// holds the one to what it finds (frontend/build.py), tests/protocol/test_page.py the other.
const OUTPUT = '../server/midsentence_server/page';
const BASE = '/page/';

export default defineConfig({
  base: BASE,
  plugins: [onlyWoff2()],
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
    // The machine may be busy with other tests; a promise that holds is kept long before.
    testTimeout: 60_000,
  },
});

/** KaTeX's style sheet names each font three times; every browser that runs this page takes the first and smallest. */
function onlyWoff2(): Plugin {
  const others = /,\s*url\([^)]+\.(?:woff|ttf)\)\s*format\([^)]+\)/g;
  return {
    name: 'only-woff2',
    enforce: 'pre',
    transform: {
      filter: { id: /\/katex\/dist\/katex[^/]*\.css$/ },
      handler(code) {
        const kept = code.replace(others, '');
        // Another spelling in another version would ship a megabyte that nobody loads.
        if (kept === code) this.error('No font was left out of the style sheet of KaTeX: mend onlyWoff2.');
        return kept;
      },
    },
  };
}
