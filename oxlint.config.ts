/**
 * Lint rules. The table of imports is that of docs/architecture.md; tests/toolchain lints a deliberately bad example
 * for every rule here that the architecture depends on, and compares the table with the document.
 */
import { defineConfig, type OxlintOverride } from 'oxlint';

/** Which `#folder` a folder may import besides `#core`. */
export const allowedImports: Record<string, string[]> = {
  core: [],
  channel: [],
  'http-api': [],
  'package-manager': [],
  leases: [],
  fences: [],
  messaging: [],
  client: [],
  frames: [],
  ownership: ['leases', 'channel', 'frames'],
  'component-host': ['ownership', 'package-manager', 'channel', 'http-api', 'frames'],
  'node-api': ['ownership', 'package-manager', 'channel', 'http-api'],
  router: ['ownership', 'frames'],
  'node-manager': ['client', 'ownership', 'package-manager', 'http-api'],
  'components/*': ['fences'],
  'publishers/*': ['messaging'],
  cli: ['client', 'node-api', 'ownership', 'package-manager', 'http-api'],
};

/** Every folder that `package.json` maps in `imports`. */
const publicFolders = Object.keys(allowedImports).filter(folder => !folder.includes('*'));

/** Deepest nesting below a folder that the rule about relative imports covers; a test compares it with the tree. */
export const depthMax = 5;

/** Packages are bundled, and the bundler sees to it there. */
const httpMessage =
  "Use process.getBuiltinModule('node:http'): an import reads all its exports, and so loads Node's fetch, 50 ms of each process.";
const timersMessage = 'Use system.timers and system.clock of an injected System (#core).';

/** Nobody reaches past a folder's index.ts, and nobody imports a folder that is not below it. */
function importRules(folder: string, depth: number): OxlintOverride {
  const forbidden = publicFolders.filter(
    other => other !== 'core' && !allowedImports[folder]!.includes(other),
  );
  return {
    files: [`${folder}/${'*/'.repeat(depth)}*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: [
            ...['timers', 'node:timers', 'timers/promises', 'node:timers/promises'].map(name => ({
              name,
              message: timersMessage,
            })),
            ...(folder.includes('*')
              ? []
              : [{ name: 'node:http', allowTypeImports: true, message: httpMessage }]),
          ],
          patterns: [
            {
              regex: `^#(?:${forbidden.join('|')})$`,
              message: `${folder} may not import this folder; see docs/architecture.md.`,
            },
            {
              regex: `^(?:\\.\\./){${depth + 1}}`,
              message: 'A relative import may not leave its folder; use #folder.',
            },
          ],
        },
      ],
    },
  };
}

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'oxc', 'import', 'node'],
  categories: { correctness: 'error' },
  ignorePatterns: ['node_modules', 'build', '.holdfast', 'tests/fixtures/lint'],
  env: { node: true, es2024: true },
  rules: {
    'import/no-cycle': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'typescript/no-explicit-any': 'error',
    'typescript/ban-ts-comment': 'error',
    'typescript/prefer-as-const': 'error',
    // Handlers passed as values are closures here, not methods.
    'typescript/unbound-method': 'off',
    'unicorn/no-abusive-eslint-disable': 'error',
    'unicorn/prefer-node-protocol': 'error',
    'no-empty': ['error', { allowEmptyCatch: false }],
    'no-restricted-globals': [
      'error',
      {
        globals: ['setTimeout', 'setInterval'].map(name => ({ name, message: timersMessage })),
        checkGlobalObject: true,
      },
    ],
    'no-restricted-properties': [
      'error',
      { object: 'Date', property: 'now', message: timersMessage },
      { object: 'performance', property: 'now', message: timersMessage },
      { object: 'process', property: 'hrtime', message: timersMessage },
      { object: 'Math', property: 'random', message: 'Use system.random of an injected System (#core).' },
    ],
    'no-var': 'error',
    'prefer-const': 'error',
    eqeqeq: ['error', 'always', { null: 'ignore' }],
    'no-console': 'error',
  },
  overrides: [
    ...Object.keys(allowedImports).flatMap(folder =>
      Array.from({ length: depthMax }, (_, depth) => importRules(folder, depth)),
    ),
    {
      // The only door to clocks, timers and randomness.
      files: ['core/system/**/*.ts'],
      rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off' },
    },
    {
      // Tests and benches measure real time and drive everything.
      files: ['tests/**', 'bench/**'],
      rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off', 'no-console': 'off' },
    },
    {
      // Must be readable by the oldest Node there is, to say that it is too old; and cannot import TypeScript.
      files: ['bin/*.js'],
      rules: {
        'no-var': 'off',
        'prefer-const': 'off',
        'unicorn/prefer-node-protocol': 'off',
        'no-unused-vars': ['error', { caughtErrors: 'none' }],
        'no-restricted-globals': 'off',
        'no-restricted-properties': 'off',
      },
    },
  ],
});
