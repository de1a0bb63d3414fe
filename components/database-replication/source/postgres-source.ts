/**
 * PostgreSQL as a source: a publication says which tables, a logical replication slot keeps their changes until they are confirmed. A page of
 * the first copy is one SELECT. The slot's own snapshot is not used: it would end with the connection, and a
 * copy that was interrupted would have to begin again.
 */
import type { System } from '#core';
import type { SourceEvent } from '../change.ts';
import { publicationName, quote, slotFence, slotName } from '../names.ts';
import {
  breakOff,
  connectPostgres,
  postgresShapes,
  schemaAndName,
  textRows,
  type PostgresEndpoint,
} from '../postgres-connection.ts';
import { refused } from '../problem.ts';
import type { TablePlan } from '../schema/plan.ts';
import { parseLsn } from './lsn.ts';
import { checkServer, makePublication } from './postgres-checks.ts';
import { readRows } from './postgres-rows.ts';
import { checkSlot, createSlot, dropSlot, slotBacklog } from './postgres-slot.ts';
import type { Source, SourceOptions } from './source.ts';
import { openWalStream, type WalStream } from './wal-stream.ts';
import { transactionsOf } from './wal-transactions.ts';

export async function openPostgresSource(
  endpoint: PostgresEndpoint,
  options: SourceOptions & { system: System },
): Promise<Source> {
  const { name, pairs, fence, batchRows, system } = options;
  const client = await connectPostgres(endpoint, { name });
  const publication = publicationName(name);
  const planned = new Map<string, TablePlan>();
  let stream: WalStream | null = null;
  let slot = '';
  let last: Promise<unknown> = Promise.resolve();

  /** The status may be asked for while a page is being read, and a connection does one thing at a time. */
  function inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const turn = last.then(work, work);
    last = turn;
    return turn;
  }

  async function identify(ofSlot: string): Promise<string> {
    const connection = await connectPostgres(endpoint, { name, replication: true });
    try {
      const { rows } = await connection.query<{ systemid: string; dbname: string }>('IDENTIFY_SYSTEM');
      return `${rows[0]?.systemid}/${rows[0]?.dbname}/${ofSlot}`;
    } finally {
      breakOff(connection);
    }
  }

  /** Slots that owners before us made and do not use. Those of newer owners are not ours to judge. */
  async function dropOthers(keep: string | null): Promise<void> {
    const rows = await textRows(
      client,
      'SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active',
    );
    for (const [other] of rows) {
      const made = slotFence(name, other ?? '');
      if (other && other !== keep && made !== null && made <= fence) await dropSlot(client, other);
    }
  }

  function plan(tables: readonly TablePlan[]): void {
    for (const table of tables) planned.set(schemaAndName(table.source).join('.'), table);
  }

  return {
    kind: 'postgres',
    shapes: () =>
      postgresShapes(
        client,
        pairs.map(pair => pair.source),
      ),
    async begin(tables) {
      plan(tables);
      await checkServer(client, pairs);
      await makePublication(client, publication, pairs);
      await dropOthers(null);
      slot = slotName(name, fence);
      const sourceId = await identify(slot);
      return { sourceId, position: await createSlot(client, slot) };
    },
    async resume(stored, tables) {
      plan(tables);
      const kept = stored.sourceId.split('/').at(-1) ?? '';
      const found = await identify(kept);
      if (found !== stored.sourceId) {
        throw refused(
          `the source is another database than the one that was copied: found ${found}, expected ${stored.sourceId}; mend \`source.url\`, or raise \`generation\` to copy all rows again`,
        );
      }
      slot = kept;
      await checkServer(client, pairs);
      await checkSlot(client, slot, stored.position);
      await makePublication(client, publication, pairs);
      await dropOthers(slot);
    },
    readPage: (table, after, rowsMax) =>
      inTurn(() => readRows(client, table, { key: after, comparison: '>', rowsMax })),
    async readRow(table, key) {
      const [row] = await inTurn(() => readRows(client, table, { key, comparison: '=', rowsMax: 1 }));
      return row ?? null;
    },
    holds: () => null,
    async mark() {
      const [row] = await inTurn(() => textRows(client, 'SELECT pg_current_wal_insert_lsn()::text'));
      return row?.[0] ?? '';
    },
    reached: (position, mark) => parseLsn(position) >= parseLsn(mark),
    async *follow(from, signal): AsyncGenerator<SourceEvent> {
      signal.throwIfAborted();
      const start = parseLsn(from);
      const opened = await openWalStream(endpoint, { name, slot, publication, from: start, system });
      stream = opened;
      const end = (): void => opened.close();
      signal.addEventListener('abort', end, { once: true });
      try {
        signal.throwIfAborted(); // while it was being opened
        yield* transactionsOf(opened, { from: start, tables: planned, batchRows });
      } finally {
        signal.removeEventListener('abort', end);
        opened.close();
      }
    },
    confirm(position) {
      stream?.confirm(parseLsn(position));
    },
    async backlog(position) {
      return { ...(await inTurn(() => slotBacklog(client, slot, position))), rows: stream?.waiting() ?? 0 };
    },
    async retire() {
      stream?.close();
      await dropOthers(null);
      await client.query(`DROP PUBLICATION IF EXISTS ${quote(publication)}`);
    },
    async close() {
      stream?.close();
      breakOff(client);
    },
  };
}
