// Formats the Lua scripts with StyLua. With --check it changes nothing and fails where a script is not formatted.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// StyLua comes from npm with the page's tools.
const stylua = createRequire(new URL('../frontend/package.json', import.meta.url))('@johnnymorganz/stylua');
const folder = new URL('../midsentence/lua/', import.meta.url);

function formatted(code) {
  const config = stylua.Config.new();
  config.syntax = stylua.LuaVersion.Lua51;
  config.column_width = 120;
  config.indent_type = stylua.IndentType.Spaces;
  config.indent_width = 2;
  config.quote_style = stylua.QuoteStyle.AutoPreferSingle;
  return stylua.formatCode(code, config, undefined, stylua.OutputVerification.None);
}

for (const name of readdirSync(folder)) {
  const file = new URL(name, folder);
  const code = readFileSync(file, 'utf8');
  const wanted = formatted(code);
  if (wanted === code) continue;
  if (process.argv.includes('--check')) {
    console.error(`midsentence/lua/${name} is not formatted: run tools/format_lua.mjs`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, wanted);
  }
}
