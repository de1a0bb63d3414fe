/** Lints deliberately bad examples, each in the place where its rule counts, and good ones beside them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { allowedImports, depthMax } from '../../oxlint.config.ts';

const projectRoot = join(import.meta.dirname, '../..');
const folders = Object.keys(allowedImports).filter(folder => !folder.includes('*'));

interface Example {
  title: string;
  /** Where it lies in the project. */
  path: string;
  code: string;
  /** The rule that must fire, or null: then none may. */
  rule: string | null;
}

/** `components/*` stands for any component. */
const placeOf = (folder: string) => folder.replace('*', 'sample');

function importExamples(): Example[] {
  return Object.entries(allowedImports).flatMap(([folder, allowed]) =>
    folders
      .filter(other => other !== folder)
      .map(other => {
        const forbidden = other !== 'core' && !allowed.includes(other);
        return {
          title: `${folder} ${forbidden ? 'may not' : 'may'} import #${other}`,
          path: `${placeOf(folder)}/imports-${other}.ts`,
          code: `import { value } from '#${other}';\nexport const copy = value;\n`,
          rule: forbidden ? 'eslint(no-restricted-imports)' : null,
        };
      }),
  );
}

function relativeExamples(): Example[] {
  return Object.keys(allowedImports).flatMap(folder =>
    Array.from({ length: depthMax }, (_, depth): Example[] => {
      const below = 'deep/'.repeat(depth);
      const up = '../'.repeat(depth);
      const place = placeOf(folder);
      return [
        {
          title: `${folder} may not reach out of itself from depth ${depth}`,
          path: `${place}/${below}reaches-out.ts`,
          code: `import { value } from '${up}../elsewhere/index.ts';\nexport const copy = value;\n`,
          rule: 'eslint(no-restricted-imports)',
        },
        {
          title: `${folder} may import its own files from depth ${depth}`,
          path: `${place}/${below}reaches-in.ts`,
          code: `import { value } from '${up || './'}own.ts';\nexport const copy = value;\n`,
          rule: null,
        },
      ];
    }).flat(),
  );
}

const timers = ['timers', 'node:timers', 'timers/promises', 'node:timers/promises'].map((name): Example => ({
  title: `timers may not be imported from ${name}`,
  path: `cli/imports-${name.replaceAll(/\W/g, '-')}.ts`,
  code: `import { setTimeout as later } from '${name}';\nexport const copy = later;\n`,
  rule: 'eslint(no-restricted-imports)',
}));

const http: Example[] = [
  {
    title: 'node:http may not be imported',
    path: 'channel/imports-http.ts',
    code: `import { createServer } from 'node:http';\nexport const copy = createServer;\n`,
    rule: 'eslint(no-restricted-imports)',
  },
  {
    title: 'types of node:http may be imported',
    path: 'channel/imports-http-types.ts',
    code: `import type { Server } from 'node:http';\nexport type Copy = Server;\n`,
    rule: null,
  },
];

const rest: [title: string, path: string, code: string, rule: string | null][] = [
  [
    'Date.now outside of core/system',
    'cli/now.ts',
    'export const at = Date.now();',
    'eslint(no-restricted-properties)',
  ],
  ['Math.random', 'core/random.ts', 'export const at = Math.random();', 'eslint(no-restricted-properties)'],
  [
    'performance.now',
    'router/now.ts',
    'export const at = performance.now();',
    'eslint(no-restricted-properties)',
  ],
  [
    'process.hrtime',
    'leases/now.ts',
    'export const at = process.hrtime.bigint();',
    'eslint(no-restricted-properties)',
  ],
  [
    'setTimeout',
    'node-api/later.ts',
    'export const at = setTimeout(() => {}, 1);',
    'eslint(no-restricted-globals)',
  ],
  [
    'setInterval',
    'components/sample/later.ts',
    'export const at = setInterval(() => {}, 1);',
    'eslint(no-restricted-globals)',
  ],
  [
    'globalThis.setTimeout',
    'channel/later.ts',
    'export const at = globalThis.setTimeout(() => {}, 1);',
    'eslint(no-restricted-globals)',
  ],
  [
    'all of them in core/system',
    'core/system/clock.ts',
    'export const at = [Date.now(), Math.random(), performance.now(), setTimeout(() => {}, 1)];',
    null,
  ],
  [
    'all of them in tests',
    'tests/clock.ts',
    'export const at = [Date.now(), Math.random(), performance.now(), setTimeout(() => {}, 1)];',
    null,
  ],
  [
    'a promise that nobody waits for',
    'cli/floating.ts',
    'async function work() {}\nexport function go() { work(); }',
    'typescript(no-floating-promises)',
  ],
  [
    'a promise given to nobody on purpose',
    'cli/void.ts',
    'async function work() {}\nexport function go() { void work(); }',
    null,
  ],
  [
    'a promise as a condition',
    'cli/misused.ts',
    'export async function go(work: () => Promise<boolean>) { if (work()) return 1; return 2; }',
    'typescript(no-misused-promises)',
  ],
  [
    'something thrown that is no error',
    'cli/thrown.ts',
    `export function go() { throw 'text'; }`,
    'typescript(only-throw-error)',
  ],
  [
    'a switch that forgets a case',
    'cli/switch.ts',
    `export function go(of: 'a' | 'b') { switch (of) { case 'a': return 1; } return 2; }`,
    'typescript(switch-exhaustiveness-check)',
  ],
  ['any', 'cli/any.ts', 'export const value: any = 1;', 'typescript(no-explicit-any)'],
  ['as any', 'cli/as-any.ts', 'export const value = 1 as any;', 'typescript(no-explicit-any)'],
  [
    '@ts-ignore',
    'cli/ignore.ts',
    '// @ts-ignore: because\nexport const value = 1;',
    'typescript(ban-ts-comment)',
  ],
  ['an empty catch', 'cli/catch.ts', 'try { process.cwd(); } catch {}\nexport {};', 'eslint(no-empty)'],
  [
    'an empty catch that says why',
    'cli/catch-why.ts',
    'try { process.cwd(); } catch {\n  // gone already\n}\nexport {};',
    null,
  ],
  ['console in the source', 'router/console.ts', `console.log('x');\nexport {};`, 'eslint(no-console)'],
  [
    '== instead of ===',
    'cli/equal.ts',
    'export const same = (a: number, b: number) => a == b;',
    'eslint(eqeqeq)',
  ],
  [
    'a built-in without node:',
    'cli/builtin.ts',
    `import { sep } from 'path';\nexport const copy = sep;`,
    'unicorn(prefer-node-protocol)',
  ],
  [
    'a cycle of imports',
    'cli/cycle-a.ts',
    `import { b } from './cycle-b.ts';\nexport const a = () => b;`,
    'import(no-cycle)',
  ],
];

const examples: Example[] = [
  ...importExamples(),
  ...relativeExamples(),
  ...timers,
  ...http,
  ...rest.map(([title, path, code, rule]) => ({ title, path, code, rule })),
];

describe('the lint rules', function () {
  this.timeout(60_000);
  let directory: string;
  const found = new Map<string, string[]>();

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-lint-'));
    const write = (path: string, code: string) => {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), `${code}\n`);
    };
    for (const file of ['oxlint.config.ts', 'tsconfig.json', 'package.json']) {
      cpSync(join(projectRoot, file), join(directory, file));
    }
    symlinkSync(join(projectRoot, 'node_modules'), join(directory, 'node_modules'));
    for (const folder of [...Object.keys(allowedImports).map(placeOf), 'elsewhere']) {
      write(`${folder}/index.ts`, 'export const value = 1;');
      write(`${folder}/own.ts`, 'export const value = 1;');
    }
    write('cli/cycle-b.ts', `import { a } from './cycle-a.ts';\nexport const b = () => a;`);
    for (const { path, code } of examples) write(path, code);

    const { stdout, stderr } = spawnSync(
      process.execPath,
      [join(projectRoot, 'node_modules/oxlint/bin/oxlint'), '--type-aware', '-f', 'json'],
      { cwd: directory, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
    );
    assert(stdout.startsWith('{'), `oxlint did not run: ${stdout}${stderr}`);
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: { code: string; filename: string }[] };
    for (const { code, filename } of diagnostics) {
      found.set(filename, [...(found.get(filename) ?? []), code]);
    }
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('has no two examples in one place', () => {
    assert.equal(new Set(examples.map(example => example.path)).size, examples.length);
  });

  for (const { title, path, rule } of examples) {
    it(rule ? `refuse: ${title}` : `allow: ${title}`, () => {
      const codes = found.get(path) ?? [];
      if (rule) assert(codes.includes(rule), `expected ${rule}, found ${codes.join(', ') || 'nothing'}`);
      else assert.deepEqual(codes, []);
    });
  }
});
