/**
 * Makes emitted declarations stand alone: an import of `#core` or of another folder is replaced by imports of the very files that declare
 * the names. So only files that are needed come along, and nothing depends on how the package maps its folders.
 * It knows the forms that this project writes, and refuses others.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const statement = /^(import|export)( type)? (\{[^}]*\}|\*) from '([^']+)';$/gm;

/** `directory`: where declarations were emitted to, in the project's layout. The result gives each file needed with its text. */
export function createDeclarations(directory: string): (entries: string[]) => Map<string, string> {
  const read = (path: string) => readFileSync(path, 'utf8');

  /** The file that a specifier names. */
  function locate(specifier: string, from: string): string {
    const path = specifier.startsWith('#')
      ? join(directory, specifier.slice(1), 'index.d.ts')
      : join(dirname(from), specifier.replace(/\.ts$/, '.d.ts'));
    if (!existsSync(path)) throw new Error(`${from} names ${specifier}, for which there is no declaration`);
    return path;
  }

  /** The file that declares a name which `path` exports, through all that is passed on; null if it does not export it. */
  function origin(name: string, path: string): string | null {
    const text = read(path);
    if (
      new RegExp(
        `^export (?:declare )?(?:abstract )?(?:interface|type|class|const|function) ${name}\\b`,
        'm',
      ).test(text)
    ) {
      return path;
    }
    for (const [, keyword, , names, specifier] of text.matchAll(statement)) {
      if (keyword !== 'export' || !/^[#.]/.test(specifier!)) continue;
      if (names !== '*' && !namesIn(names!).some(one => one.name === name)) continue;
      const found = origin(name, locate(specifier!, path));
      if (found) return found;
    }
    return null;
  }

  function rewrite(path: string, needed: Set<string>): string {
    return read(path).replaceAll(
      statement,
      (whole, keyword: string, type: string | undefined, names: string, specifier: string) => {
        if (!/^[#.]/.test(specifier)) return whole;
        if (names === '*') throw new Error(`${path}: name what you export from ${specifier}`);
        const byFile = new Map<string, string[]>();
        for (const { name, text } of namesIn(names)) {
          const file = origin(name, locate(specifier, path));
          if (!file) throw new Error(`${path}: ${specifier} exports no ${name}`);
          needed.add(file);
          byFile.set(file, [...(byFile.get(file) ?? []), text]);
        }
        return [...byFile]
          .map(
            ([file, list]) =>
              `${keyword}${type ?? ''} { ${list.join(', ')} } from '${specifierOf(file, path)}';`,
          )
          .join('\n');
      },
    );
  }

  return entries => {
    const needed = new Set(entries);
    const result = new Map<string, string>();
    // A set that grows is visited to its end.
    for (const path of needed) {
      const text = rewrite(path, needed);
      const left = /(?:from |import\()['"]#[^'"]+/.exec(text);
      if (left) throw new Error(`${path}: unknown form of import: ${left[0]}`);
      result.set(path, text);
    }
    return result;
  };
}

/** What stands in braces: `{ a, type B }`. */
function namesIn(braces: string): { name: string; text: string }[] {
  return braces
    .slice(1, -1)
    .split(',')
    .map(text => text.trim())
    .filter(Boolean)
    .map(text => {
      if (/ as /.test(text)) throw new Error(`${text}: a name must stay as it is`);
      return { name: text.replace(/^type /, ''), text };
    });
}

function specifierOf(file: string, from: string): string {
  const path = relative(dirname(from), file).replace(/\.d\.ts$/, '.js');
  return path.startsWith('.') ? path : `./${path}`;
}
