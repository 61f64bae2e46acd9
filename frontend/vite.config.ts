import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The folder and the path from which the server serves the page (server/midsentence_server/page.py). frontend/build.py
// checks the folder, tests/protocol/test_page.py the path.
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
    // The page's content security policy forbids fonts and images inlined in a style sheet.
    assetsInlineLimit: 0,
    // Browsers that support modules also preload them. The polyfill for others would be inline code, which the policy
    // forbids.
    modulePreload: { polyfill: false },
    // The licences of the bundled packages.
    license: { fileName: 'licenses.md' },
  },
  test: {
    include: ['tests/**/*.test.{ts,tsx}'],
    environment: 'happy-dom',
    // Far longer than any test takes, since the machine may be busy with other tests.
    testTimeout: 60_000,
  },
});

/**
 * KaTeX's style sheet has three formats of each font. Each browser that runs this page takes the first, which is the
 * smallest.
 */
function onlyWoff2(): Plugin {
  const others = /,\s*url\([^)]+\.(?:woff|ttf)\)\s*format\([^)]+\)/g;
  return {
    name: 'only-woff2',
    enforce: 'pre',
    transform: {
      filter: { id: /\/katex\/dist\/katex[^/]*\.css$/ },
      handler(code) {
        const kept = code.replace(others, '');
        // If a new version of KaTeX writes this in another way, the build would ship a megabyte that nobody loads.
        if (kept === code) this.error('onlyWoff2 removed no font from the style sheet of KaTeX: update its pattern.');
        return kept;
      },
    },
  };
}
