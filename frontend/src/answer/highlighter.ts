// The highlighter and its languages: one bundle that is loaded with the first fence.
import { createLowlight } from 'lowlight';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import dockerfile from 'highlight.js/lib/languages/dockerfile';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import kotlin from 'highlight.js/lib/languages/kotlin';
import lua from 'highlight.js/lib/languages/lua';
import makefile from 'highlight.js/lib/languages/makefile';
import markdown from 'highlight.js/lib/languages/markdown';
import nginx from 'highlight.js/lib/languages/nginx';
import php from 'highlight.js/lib/languages/php';
import powershell from 'highlight.js/lib/languages/powershell';
import python from 'highlight.js/lib/languages/python';
import r from 'highlight.js/lib/languages/r';
import ruby from 'highlight.js/lib/languages/ruby';
import rust from 'highlight.js/lib/languages/rust';
import shell from 'highlight.js/lib/languages/shell';
import sql from 'highlight.js/lib/languages/sql';
import swift from 'highlight.js/lib/languages/swift';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';

import type { Run } from './colouring';

const lowlight = createLowlight({
  bash,
  c,
  cpp,
  csharp,
  css,
  diff,
  dockerfile,
  go,
  ini,
  java,
  javascript,
  json,
  kotlin,
  lua,
  makefile,
  markdown,
  nginx,
  php,
  powershell,
  python,
  r,
  ruby,
  rust,
  shell,
  sql,
  swift,
  typescript,
  xml,
  yaml,
});

// The page's colour for each scope of the highlighter. A scope that is not listed has the colour of the scope around
// it.
const COLOURS: Record<string, string> = {
  keyword: 'keyword',
  'selector-tag': 'keyword',
  'template-tag': 'keyword',
  operator: 'plain',
  subst: 'plain',
  string: 'string',
  regexp: 'string',
  symbol: 'string',
  link: 'string',
  bullet: 'string',
  'char.escape': 'string',
  number: 'number',
  literal: 'number',
  comment: 'comment',
  quote: 'comment',
  title: 'title',
  section: 'title',
  name: 'title',
  'selector-id': 'title',
  'selector-class': 'title',
  type: 'type',
  built_in: 'type',
  class: 'type',
  attr: 'attribute',
  attribute: 'attribute',
  property: 'attribute',
  variable: 'attribute',
  'template-variable': 'attribute',
  meta: 'meta',
  doctag: 'meta',
  addition: 'addition',
  deletion: 'deletion',
};

type Root = ReturnType<typeof lowlight.highlight>;

function flatten(nodes: Root['children'], colour: string, runs: Run[]): void {
  for (const node of nodes) {
    if (node.type === 'text') {
      const last = runs.at(-1);
      if (last?.colour === colour) last.text += node.value;
      else if (node.value !== '') runs.push({ text: node.value, colour });
    } else if (node.type === 'element') {
      const names = node.properties['className'];
      const scope = Array.isArray(names) ? String(names[0]).replace('hljs-', '') : '';
      flatten(node.children, COLOURS[scope] ?? colour, runs);
    }
  }
}

/** The coloured runs of `code`, or null if the language is unknown or its grammar fails. */
export function highlight(language: string, code: string): Run[] | null {
  const name = language.toLowerCase();
  if (!lowlight.registered(name)) return null;
  try {
    const runs: Run[] = [];
    flatten(lowlight.highlight(name, code).children, 'plain', runs);
    return runs;
  } catch {
    return null;
  }
}
