/**
 * Runs a caller's SQL inside the transaction that its caller has begun. SQLite compiles one statement at a time and
 * says how much of the text that was; the next one is compiled only after it ran, because it may need its tables.
 */
import type { SQLOutputValue, StatementSync } from 'node:sqlite';
import { STATEMENT_BYTES_MAX, type Connection } from './connection.ts';
import { ServiceError } from './service-error.ts';
import type { Parameters, Query, SqlRequest } from './sql-request.ts';
import { fromSqlite } from './values.ts';

export interface Limits {
  maxRows: number;
  maxBytes: number;
}

export interface Outcome {
  /** JSON text of `results`, and of `changes` and `lastInsertRowid` where something was written. */
  fields: string;
  wrote: boolean;
}

interface QueryOutcome {
  rows: string;
  wrote: boolean;
  changes: bigint;
  insertedRowid: bigint | null;
}

/** Counts down what is left of an answer. */
interface Budget {
  rows: number;
  bytes: number;
}

/** @throws ServiceError or SQLite's error; the transaction is to be rolled back then */
export function runRequest(connection: Connection, request: SqlRequest, limits: Limits): Outcome {
  const budget: Budget = { rows: limits.maxRows, bytes: limits.maxBytes };
  const spend = (json: string): void => {
    budget.rows--;
    budget.bytes -= Buffer.byteLength(json);
    if (budget.rows < 0) throw tooLarge(`${limits.maxRows} rows`);
    if (budget.bytes < 0) throw tooLarge(`${limits.maxBytes} bytes`);
  };
  if (request.kind === 'single') {
    const outcome = runQuery(connection, request.query, spend);
    return { fields: toFields(outcome), wrote: outcome.wrote };
  }
  let wrote = false;
  const parts = request.queries.map(query => {
    const outcome = runQuery(connection, query, spend);
    wrote ||= outcome.wrote;
    const json = `{${toFields(outcome)}}`;
    budget.bytes -= json.length - outcome.rows.length;
    return json;
  });
  return { fields: `"results":[${parts.join(',')}]`, wrote };
}

function runQuery(connection: Connection, query: Query, spend: (json: string) => void): QueryOutcome {
  checkText(query);
  const outcome: QueryOutcome = { rows: '[]', wrote: false, changes: 0n, insertedRowid: null };
  let rest = query.text;
  let next = compile(connection, rest);
  if (next === null) throw new ServiceError('HF_SQL_ERROR', `${query.path} holds no SQL statement`);
  while (next !== null) {
    const { statement, effects } = next;
    rest = rest.slice(next.length);
    // Which statement the parameters are for would be a guess. (An empty rest costs nothing to look at.)
    if (query.parameters.kind !== 'none' && hasMore(connection, rest)) {
      throw new ServiceError('HF_REQUEST_INVALID', 'parameters go with one statement only', {
        problems: [{ path: query.path, expected: 'one statement, or no parameters' }],
      });
    }
    outcome.rows = readRows(statement, query.parameters, spend);
    const changed = effects.has('insert') || effects.has('rows') || effects.has('schema');
    if (changed && !explains(statement)) {
      outcome.wrote = true;
      if (!effects.has('schema')) {
        const last = connection.lastWrite.get() as { changes: bigint; rowid: bigint };
        outcome.changes += last.changes;
        if (effects.has('insert')) outcome.insertedRowid = last.rowid;
      }
    }
    next = compile(connection, rest);
  }
  return outcome;
}

function compile(connection: Connection, text: string) {
  if (text.trim() === '') return null;
  const { guard, database } = connection;
  guard.effects = new Set();
  let statement: StatementSync;
  try {
    statement = database.prepare(text, { readBigInts: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_INVALID_ARG_VALUE') return null; // blanks, comments, semicolons
    throw error;
  }
  return { statement, length: statement.sourceSQL.length, effects: guard.effects };
}

/** What may stand before a statement; it takes one way to match, however many comments there are. */
const explanation = /^(?:[\s;]|--[^\n]*\n|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/)*explain\b/i;

/** EXPLAIN compiles a write and does not run it. */
function explains(statement: StatementSync): boolean {
  return explanation.test(statement.sourceSQL);
}

/** Whether anything but comments follows; what does not compile counts as something. */
function hasMore(connection: Connection, text: string): boolean {
  try {
    return compile(connection, text) !== null;
  } catch {
    return true; // it fails to compile because it is something
  }
}

function readRows(statement: StatementSync, parameters: Parameters, spend: (json: string) => void): string {
  const rows: string[] = [];
  const iterator =
    parameters.kind === 'named'
      ? statement.iterate(parameters.values)
      : statement.iterate(...(parameters.kind === 'positional' ? parameters.values : []));
  try {
    for (let step = iterator.next(); !step.done; step = iterator.next()) {
      const fields: Record<string, unknown> = step.value; // without prototype: a column may have any name
      for (const name in fields) fields[name] = fromSqlite((fields[name] ?? null) as SQLOutputValue);
      const json = JSON.stringify(fields);
      spend(json);
      rows.push(json);
    }
  } finally {
    // A statement that failed is not reset by itself, and would pin the database as it was then: the transactions that
    // follow would read old data, and an old fence.
    iterator.return?.();
  }
  return `[${rows.join(',')}]`;
}

function toFields(outcome: QueryOutcome): string {
  if (!outcome.wrote) return `"results":${outcome.rows}`;
  const rowid = outcome.insertedRowid === null ? null : fromSqlite(outcome.insertedRowid);
  return `"results":${outcome.rows},"changes":${outcome.changes},"lastInsertRowid":${JSON.stringify(rowid)}`;
}

function checkText({ text, path }: Query): void {
  if (Buffer.byteLength(text) > STATEMENT_BYTES_MAX) {
    throw new ServiceError(
      'HF_REQUEST_TOO_LARGE',
      `${path} has more than ${STATEMENT_BYTES_MAX} bytes; send data as parameters`,
    );
  }
  // SQLite would stop at NUL and leave the rest unread.
  if (text.includes('\0')) throw new ServiceError('HF_REQUEST_INVALID', `${path} holds a NUL character`);
}

function tooLarge(limit: string): ServiceError {
  return new ServiceError(
    'HF_SQL_ERROR',
    `the result has more than ${limit}; nothing was changed; ask for less (LIMIT, fewer columns)`,
    { limit },
  );
}
