/** JSON Schema checks with messages that show the path, the value and what was expected. */
import { createContext, Script } from 'node:vm';
import { Ajv, type ErrorObject } from 'ajv';
import { jsonPath, PROBLEMS_MAX, type Problem } from './problems.ts';
import { isSecretName, redact, REDACTED } from './redaction.ts';

/** Checks a value and fills in defaults in place; an empty list means valid. */
export type Validate = (value: unknown) => Problem[];

export interface CompileOptions {
  /** Fills in the schema's defaults, in place. */
  useDefaults?: boolean;
  /** The schema is known to be one: it is not checked first, which takes longer than compiling it. */
  trusted?: boolean;
  /** Checks what is there and lets required values be missing. */
  partial?: boolean;
  /** For schemas of strangers: compiling, and each check, ends after this with an Error. Costs a thread for that long. */
  timeMsMax?: number;
}

/** Compiles a JSON Schema (draft-07). Throws Error when the schema itself is not valid. Formats are not checked. */
export function compileSchema(schema: object, options: CompileOptions = {}): Validate {
  // An asynchronous one answers with a promise, which would pass for "valid".
  if ('$async' in schema) throw new Error('$async is not supported');
  const { timeMsMax } = options;
  const bounded = <Result>(run: () => Result) => (timeMsMax === undefined ? run() : within(timeMsMax, run));
  const ajv = compilerFor(options); // made outside of the bound: that is for what a stranger's schema costs
  const validate = bounded(() => {
    const compiled = ajv.compile(schema);
    ajv.removeSchema(schema); // it would be kept for as long as the process lives
    return compiled;
  });
  return value =>
    bounded(() => {
      if (validate(value)) return [];
      const errors = validate.errors ?? [];
      return toProblems(options.partial ? errors.filter(error => error.keyword !== 'required') : errors);
    });
}

/** A schema that is part of Holdfast: trusted, and compiled when it is first needed. */
export function ownSchema(schema: object): Validate {
  let validate: Validate | undefined;
  return value => (validate ??= compileSchema(schema, { trusted: true }))(value);
}

/** Ends what never would: a pattern that backtracks for ever, a list that is compared with itself. */
function within<Result>(timeMsMax: number, run: () => Result): Result {
  try {
    return new Script('run()').runInContext(createContext({ run }), { timeout: timeMsMax }) as Result;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    compilers.clear(); // ended in the middle of its work, a compiler is good for nothing
    throw new Error(`checking it takes longer than ${timeMsMax} ms`, { cause: error });
  }
}

const compilers = new Map<string, Ajv>();

/** One for all schemas: each new one compiles the meta-schema again, which takes longer than our schemas do. */
function compilerFor({ useDefaults = false, trusted = false }: CompileOptions): Ajv {
  const kind = `${useDefaults} ${trusted}`;
  const known = compilers.get(kind);
  if (known) return known;
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    useDefaults,
    validateSchema: !trusted,
    meta: !trusted,
    strict: false,
    allowUnionTypes: true,
    validateFormats: false,
    logger: false,
    code: { optimize: false }, // it takes 40 % of the time of compiling, for a check that is made a few times
    addUsedSchema: false, // schemas of strangers may have the same $id
  });
  if (!trusted) void ajv.validateSchema({}, false); // compiles the meta-schema
  compilers.set(kind, ajv);
  return ajv;
}

/** Ajv's errors (made with `allErrors` and `verbose`) in our words; at most 50. */
export function toProblems(errors: readonly ErrorObject[]): Problem[] {
  return dropUnionNoise(errors).slice(0, PROBLEMS_MAX).map(toProblem);
}

/** Of an `anyOf` that failed as a whole, keeps only the summary and not one error for each branch. */
function dropUnionNoise(errors: readonly ErrorObject[]): ErrorObject[] {
  const failed = errors.filter(error => error.keyword === 'anyOf' || error.keyword === 'oneOf');
  // As many as the schema has unions, however often they failed.
  const unions = [...new Set(failed.map(union => `${union.schemaPath}/`))];
  return errors.filter(error => !unions.some(union => error.schemaPath.startsWith(union)));
}

function toProblem(error: ErrorObject): Problem {
  const segments = error.instancePath
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map(part => (/^(?:0|[1-9][0-9]*)$/.test(part) ? Number(part) : part));
  const parameters = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'required':
      return {
        path: jsonPath([...segments, String(parameters.missingProperty)]),
        expected: 'a value (it is missing)',
      };
    case 'additionalProperties': {
      const name = String(parameters.additionalProperty);
      const known = Object.keys(
        (error.parentSchema as { properties?: object } | undefined)?.properties ?? {},
      );
      const value = (error.data as Record<string, unknown> | undefined)?.[name];
      return {
        path: jsonPath([...segments, name]),
        value: show(value, [...segments, name]),
        expected: known.length > 0 ? `no such key; known keys: ${known.join(', ')}` : 'no such key',
      };
    }
    default:
      return { path: jsonPath(segments), value: show(error.data, segments), expected: expectation(error) };
  }
}

function expectation(error: ErrorObject): string {
  const schema = (error.parentSchema ?? {}) as SchemaParts;
  const parameters = error.params as { type?: unknown; limit?: unknown; allowedValue?: unknown };
  const hint = schema.description ? ` (${schema.description})` : '';
  switch (error.keyword) {
    case 'type':
      return `${String(parameters.type)}${hint}`;
    case 'const':
      return JSON.stringify(parameters.allowedValue);
    case 'enum':
      return `one of ${(error.params as { allowedValues: unknown[] }).allowedValues.map(value => JSON.stringify(value)).join(', ')}`;
    case 'anyOf':
    case 'oneOf':
      return `one of: ${(schema.anyOf ?? schema.oneOf ?? []).map(describeBranch).join(', ')}${hint}`;
    case 'pattern':
      return schema.patternErrorMessage ?? `text matching ${schema.pattern}${hint}`;
    case 'minimum':
      return `at least ${String(parameters.limit)}${hint}`;
    case 'maximum':
      return `at most ${String(parameters.limit)}${hint}`;
    case 'minLength':
      return `at least ${String(parameters.limit)} characters${hint}`;
    case 'maxLength':
      return `at most ${String(parameters.limit)} characters${hint}`;
    default:
      return `${error.message?.replace(/^must (?:be )?/, '').replace(/^NOT /, 'not ') ?? error.keyword}${hint}`;
  }
}

interface SchemaParts {
  description?: string;
  anyOf?: SchemaBranch[];
  oneOf?: SchemaBranch[];
  pattern?: string;
  patternErrorMessage?: string;
}

interface SchemaBranch {
  const?: unknown;
  type?: string;
  minimum?: number;
  maximum?: number;
  properties?: object;
}

function describeBranch(branch: SchemaBranch): string {
  if (branch.const !== undefined) return JSON.stringify(branch.const);
  if (branch.properties) return `an object with ${Object.keys(branch.properties).join(', ')}`;
  const range =
    branch.minimum === undefined
      ? ''
      : ` from ${branch.minimum}${branch.maximum === undefined ? '' : ` to ${branch.maximum}`}`;
  return `${branch.type ?? 'value'}${range}`;
}

/** Values in messages are shown, but not pages of them, and no secrets. */
function show(value: unknown, path: readonly (string | number)[]): unknown {
  const hidden = (segment: string | number) =>
    segment === 'env' || segment === 'urls' || isSecretName(String(segment));
  const shown = path.some(hidden) ? REDACTED : redact(value);
  const text = JSON.stringify(shown);
  if (text === undefined || text.length <= 200) return shown;
  return `${text.slice(0, 200)}…`;
}
