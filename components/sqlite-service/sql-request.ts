/** Reads what a caller sent: one query, or a batch. Strict: an unknown name is more likely a mistake than a wish. */
import type { SQLInputValue } from 'node:sqlite';
import { ServiceError } from './service-error.ts';
import { toSqlite } from './values.ts';
import type { SqlInput } from './worker-protocol.ts';

/** One query, which may hold several statements, with its parameters. */
export interface Query {
  text: string;
  parameters: Parameters;
  /** JSON path of the query, for messages. */
  path: string;
}

export type Parameters =
  | { kind: 'none' }
  | { kind: 'positional'; values: SQLInputValue[] }
  | { kind: 'named'; values: Record<string, SQLInputValue> };

export type SqlRequest = { kind: 'single'; query: Query } | { kind: 'batch'; queries: Query[] };

const batchMax = 100_000;

/** @throws HF_REQUEST_INVALID with `details.problems` */
export function readSqlRequest(input: SqlInput): SqlRequest {
  if (input.format === 'sql') {
    return { kind: 'single', query: { text: input.text, parameters: { kind: 'none' }, path: '$' } };
  }
  let document: unknown;
  try {
    document = JSON.parse(input.text);
  } catch (error) {
    throw invalid('$', undefined, `JSON (${(error as Error).message})`);
  }
  if (isRecord(document) && 'statements' in document) {
    const { statements, ...rest } = document;
    refuseUnknown(rest, '$', ['statements']);
    if (!Array.isArray(statements) || statements.length === 0 || statements.length > batchMax) {
      throw invalid('$.statements', undefined, `an array of 1 to ${batchMax} queries`);
    }
    return {
      kind: 'batch',
      queries: statements.map((item, index) => readQuery(item, `$.statements[${index}]`)),
    };
  }
  return { kind: 'single', query: readQuery(document, '$') };
}

function readQuery(document: unknown, path: string): Query {
  if (!isRecord(document)) throw invalid(path, document, '{"query": "…", "parameters": […]}');
  const { query, parameters, ...rest } = document;
  refuseUnknown(rest, path, ['query', 'parameters']);
  if (typeof query !== 'string') throw invalid(`${path}.query`, query, 'text: the SQL');
  return { text: query, parameters: readParameters(parameters, `${path}.parameters`), path: `${path}.query` };
}

function readParameters(parameters: unknown, path: string): Parameters {
  if (parameters === undefined || parameters === null) return { kind: 'none' };
  if (Array.isArray(parameters)) {
    if (parameters.length === 0) return { kind: 'none' };
    return {
      kind: 'positional',
      values: parameters.map((value, index) => toSqlite(value, `${path}[${index}]`)),
    };
  }
  if (!isRecord(parameters)) throw invalid(path, parameters, 'an array, or an object for named parameters');
  const named = Object.entries(parameters).map(
    ([name, value]) => [name, toSqlite(value, `${path}.${name}`)] as const,
  );
  return named.length === 0 ? { kind: 'none' } : { kind: 'named', values: Object.fromEntries(named) };
}

function refuseUnknown(rest: Record<string, unknown>, path: string, known: string[]): void {
  const [name] = Object.keys(rest);
  if (name !== undefined) {
    throw invalid(`${path}.${name}`, rest[name], `no such key; known keys: ${known.join(', ')}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(path: string, value: unknown, expected: string): ServiceError {
  const shown = value === undefined ? undefined : JSON.stringify(value).slice(0, 200);
  return new ServiceError(
    'HF_REQUEST_INVALID',
    `${path}${shown === undefined ? '' : ` is ${shown},`} expected ${expected}`,
    { problems: [{ path, ...(shown === undefined ? {} : { value: shown }), expected }] },
  );
}
