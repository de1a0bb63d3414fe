/** JSON Schema checks with messages that show the path, the value and what was expected. */
import { Ajv, type ErrorObject } from 'ajv';

/** One thing that is wrong. `path` is a JSON path like `$.routes[0].pathPrefix`. */
export interface Problem {
  path: string;
  /** The offending value, shortened; absent when something is missing. */
  value?: unknown;
  expected: string;
}

/** Checks a value and fills in defaults in place; an empty list means valid. */
export type Validate = (value: unknown) => Problem[];

/** Compiles a JSON Schema. Throws Error when the schema itself is not valid. */
export function compileSchema(schema: object, options: { useDefaults?: boolean } = {}): Validate {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    useDefaults: options.useDefaults ?? false,
    strict: false,
    allowUnionTypes: true,
  });
  const validate = ajv.compile(schema);
  return value => {
    if (validate(value)) return [];
    return dropUnionNoise(validate.errors ?? [])
      .slice(0, 50)
      .map(toProblem);
  };
}

/** `$.a[0]["odd name"]` from path segments. */
export function jsonPath(segments: readonly (string | number)[]): string {
  return segments.reduce<string>((path, segment) => {
    if (typeof segment === 'number') return `${path}[${segment}]`;
    return /^[A-Za-z_$][\w$-]*$/.test(segment) ? `${path}.${segment}` : `${path}[${JSON.stringify(segment)}]`;
  }, '$');
}

/** One line for people: path, value, expectation. */
export function describeProblem(problem: Problem): string {
  const value = problem.value === undefined ? '' : ` is ${JSON.stringify(problem.value)},`;
  return `${problem.path}${value} expected ${problem.expected}`;
}

/** Of an `anyOf` that failed as a whole, keeps only the summary and not one error for each branch. */
function dropUnionNoise(errors: ErrorObject[]): ErrorObject[] {
  const unions = errors.filter(error => error.keyword === 'anyOf' || error.keyword === 'oneOf');
  return errors.filter(
    error => !unions.some(union => error !== union && error.schemaPath.startsWith(`${union.schemaPath}/`)),
  );
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
        value: shorten(value),
        expected: known.length > 0 ? `no such key; known keys: ${known.join(', ')}` : 'no such key',
      };
    }
    default:
      return { path: jsonPath(segments), value: shorten(error.data), expected: expectation(error) };
  }
}

function expectation(error: ErrorObject): string {
  const schema = error.parentSchema as
    { description?: string; anyOf?: object[]; pattern?: string } | undefined;
  const hint = schema?.description ? ` (${schema.description})` : '';
  switch (error.keyword) {
    case 'type':
      return `${String((error.params as { type: unknown }).type)}${hint}`;
    case 'const':
      return JSON.stringify((error.params as { allowedValue: unknown }).allowedValue);
    case 'enum':
      return `one of ${(error.params as { allowedValues: unknown[] }).allowedValues.map(value => JSON.stringify(value)).join(', ')}`;
    case 'anyOf':
    case 'oneOf':
      return `one of: ${(schema?.anyOf ?? []).map(describeBranch).join(', ')}${hint}`;
    case 'pattern':
      return schema?.description ?? `text matching ${schema?.pattern}`;
    default:
      return `${error.message?.replace(/^must /, '') ?? error.keyword}${hint}`;
  }
}

function describeBranch(branch: {
  const?: unknown;
  type?: string;
  minimum?: number;
  maximum?: number;
}): string {
  if (branch.const !== undefined) return JSON.stringify(branch.const);
  const range =
    branch.minimum === undefined
      ? ''
      : ` from ${branch.minimum}${branch.maximum === undefined ? '' : ` to ${branch.maximum}`}`;
  return `${branch.type ?? 'value'}${range}`;
}

/** Values in messages are shown, but not pages of them. */
function shorten(value: unknown): unknown {
  const text = JSON.stringify(value);
  if (text === undefined || text.length <= 200) return value;
  return `${text.slice(0, 200)}…`;
}
