/** How to append to, read from and look at a register, by what serves it. */
import type { Answer, Content, Seen } from './history.ts';

export interface Wish {
  method: 'GET' | 'POST';
  /** Behind the key. */
  query: string;
  body: string | null;
  contentType: string;
}

/** What a good answer says. */
export interface Told {
  answer: Answer | null;
  position: number | null;
  seen: Seen | null;
}

/** How long an owner shall wait before it does what is asked, and before it answers. */
export interface Pauses {
  beforeMs: number;
  afterMs: number;
}

export interface Dialect {
  append(element: string, pauses: Pauses): Wish;
  read(options: { fromFile: boolean } & Pauses): Wish;
  look(): Wish | null;
  /** @param owner as the router names it, null: it does not */
  understand(body: Record<string, unknown>, owner: string | null): Told;
}

const get = (query: string): Wish => ({ method: 'GET', query, body: null, contentType: 'text/plain' });

function queryOf({ beforeMs, afterMs, ...more }: Pauses & { from?: string }): string {
  const parameters = new URLSearchParams({ before: String(beforeMs), after: String(afterMs), ...more });
  return `?${parameters.toString()}`;
}

/** `tests/fixtures/nemesis/register`. */
export const registerDialect: Dialect = {
  append: (element, pauses) => ({
    method: 'POST',
    query: queryOf(pauses),
    body: element,
    contentType: 'text/plain',
  }),
  read: ({ fromFile, ...pauses }) => get(queryOf({ ...pauses, from: fromFile ? 'file' : 'memory' })),
  look: () => null, // every answer says it
  understand(body, owner) {
    const elements = body['elements'] as string[] | undefined;
    return {
      answer: {
        owner: owner ?? String(body['owner']),
        fence: BigInt(String(body['fence'])),
        atMs: Number(body['atMs']),
        served: Number(body['served']),
      },
      position: elements ? null : Number(body['position']),
      seen: elements ? { length: elements.length, tail: elements } : null,
    };
  },
};

/** The newest rows are enough: each read is compared with the final list at its place. */
const rowsRead = 20;

export const createTable =
  'CREATE TABLE IF NOT EXISTS register (id INTEGER PRIMARY KEY, value TEXT NOT NULL)';
export const readTable = 'SELECT id, value FROM register ORDER BY id';

interface Row {
  id: number;
  value: string;
}

/** A table in a database of `sqlite-service`. */
export const sqlDialect: Dialect = {
  append: element => ({
    method: 'POST',
    query: '',
    body: JSON.stringify({
      query: 'INSERT INTO register (value) VALUES (?) RETURNING id',
      parameters: [element],
    }),
    contentType: 'application/json',
  }),
  read: () =>
    get(`?query=${encodeURIComponent(`SELECT id, value FROM register ORDER BY id DESC LIMIT ${rowsRead}`)}`),
  look: () => get(''),
  understand(body, owner) {
    const rows = body['results'] as Partial<Row>[] | undefined;
    if (rows === undefined || body['fence'] !== undefined) {
      const fence = BigInt(String(body['fence']));
      return {
        answer: { owner: owner ?? String(body['worker']), fence, atMs: null, served: null },
        position: null,
        seen: null,
      };
    }
    const inserted = rows.length === 1 && rows[0]!.value === undefined;
    if (inserted) return { answer: null, position: rows[0]!.id!, seen: null };
    return {
      answer: null,
      position: null,
      // Rows are never deleted, so that ids without a gap are places.
      seen: { length: rows[0]?.id ?? 0, tail: rows.map(row => row.value!).reverse() },
    };
  },
};

export function contentOfTable(rows: readonly Row[]): Content {
  return { entries: rows.map(({ value }) => ({ element: value, fence: null, owner: null })), openings: null };
}
