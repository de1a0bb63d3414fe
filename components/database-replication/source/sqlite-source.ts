/**
 * SQLite as a source. What has been touched since a position is read in one read transaction, which sees whole transactions of the
 * application and nothing else; the target becomes what the source is in that snapshot, in one step.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { createSqliteFence } from '#fences';
import type { System } from '#core';
import { rowBytes, type Cell, type Key, type Row } from '../cells.ts';
import type { Change, SourceEvent } from '../change.ts';
import { changeTable, logTable, quote, sourceFenceTable, triggerPrefix } from '../names.ts';
import { halted, refused } from '../problem.ts';
import type { TablePlan } from '../schema/plan.ts';
import { bind, isBusy, list, marks, openSqlite, sqliteShapes } from '../sqlite-connection.ts';
import { createLog, dropLog, touchedRows, triggersFor, type Touch } from './sqlite-change-log.ts';
import { batchBytesMax, type Source, type SourceOptions } from './source.ts';

const pruneRows = 1_000;

export function openSqliteSource(
  file: string,
  options: SourceOptions & { system: System; holder: string; pollMs: number },
): Source {
  const { name, pairs, fence: fenceNumber, batchRows, system, holder, pollMs } = options;
  const database = openSqlite(file, 'source');
  const fence = createSqliteFence(database, { table: sourceFenceTable(name), owner: holder });
  let plans: readonly TablePlan[] = [];
  let id = '';
  let confirmed = 0n;

  function prepare(text: string): StatementSync {
    const statement = database.prepare(text);
    statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    return statement;
  }

  const rowsOf = (statement: StatementSync, ...cells: Cell[]): Iterable<Cell[]> =>
    statement.iterate(...bind(cells)) as unknown as Iterable<Cell[]>;

  /** Short transactions of our own; the file may be busy with the application's. */
  async function patiently<Value>(work: () => Value, signal?: AbortSignal): Promise<Value> {
    for (let attempt = 1; ; attempt++) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || attempt === 100) throw error;
        await system.timers.sleep(10 + system.random.fraction() * 40, signal);
      }
    }
  }

  /** The triggers of a table that is no longer copied go too. In a transaction. */
  function installTriggers(): void {
    const wanted = new Map(plans.flatMap(table => [...triggersFor(name, table)]));
    const found = database
      .prepare(`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?`)
      .all(triggerPrefix(name).length, triggerPrefix(name)) as { name: string; sql: string }[];
    for (const trigger of found) {
      if (wanted.get(trigger.name) === trigger.sql) wanted.delete(trigger.name);
      else database.exec(`DROP TRIGGER ${quote(trigger.name)}`);
    }
    for (const text of wanted.values()) database.exec(text);
  }

  function readId(): { id: string; keyColumns: number } | null {
    const exists = database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(logTable(name));
    const row = exists && database.prepare(`SELECT id, key_columns FROM ${quote(logTable(name))}`).get();
    return row ? { id: String(row['id']), keyColumns: Number(row['key_columns']) } : null;
  }

  function lastSeq(): bigint {
    const [row] = rowsOf(prepare('SELECT max(seq) FROM sqlite_sequence WHERE name = ?'), changeTable(name));
    return (row?.[0] as bigint | null | undefined) ?? 0n;
  }

  /** @throws ReplicationProblem HF_REPLICATION_HALTED */
  function assertSameLog(): void {
    if (readId()?.id === id) return;
    throw halted(
      `the change log in ${file} is not the one that was begun with: somebody has put another file there, or begun again; raise \`generation\` in the settings to copy all rows again`,
    );
  }

  function* touched(table: TablePlan, after: bigint, upTo: bigint, gone: boolean): Generator<Change> {
    const keys = table.key.length;
    const statement = prepare(touchedRows(name, table, gone));
    for (const [touch, ...cells] of rowsOf(statement, table.source, after, upTo)) {
      const key = cells.slice(0, keys);
      if (gone) yield { type: 'delete', table, key, fleeting: touch !== 'update' && touch !== 'delete' };
      else
        yield {
          type: (touch as Touch) === 'insert' ? 'insert' : 'update',
          table,
          key,
          row: cells.slice(keys),
        };
    }
  }

  /** Rows that are gone first: they may hold what a unique index grants once. */
  function* changesBetween(after: bigint, upTo: bigint): Generator<Change[]> {
    let changes: Change[] = [];
    let bytes = 0;
    for (const gone of [true, false]) {
      for (const table of plans) {
        for (const change of touched(table, after, upTo, gone)) {
          changes.push(change);
          if ('row' in change) bytes += rowBytes(change.row);
          if (changes.length < batchRows && bytes < batchBytesMax) continue;
          yield changes;
          changes = [];
          bytes = 0;
        }
      }
    }
    if (changes.length > 0) yield changes;
  }

  async function prune(signal: AbortSignal): Promise<void> {
    const statement = prepare(
      `DELETE FROM ${quote(changeTable(name))} WHERE seq IN (SELECT seq FROM ${quote(changeTable(name))} WHERE seq <= ? ORDER BY seq LIMIT ${pruneRows})`,
    );
    for (let deleted = pruneRows; deleted === pruneRows;) {
      deleted = await patiently(
        () => fence.write(fenceNumber, () => Number(statement.run(confirmed).changes)),
        signal,
      );
    }
  }

  return {
    kind: 'sqlite',
    async shapes() {
      return sqliteShapes(
        database,
        pairs.map(pair => pair.source),
      );
    },
    async begin(tables) {
      plans = tables;
      id = system.random.id(20);
      const keyColumnsMax = Math.max(...plans.map(table => table.key.length));
      await patiently(() =>
        fence.install(fenceNumber, () => {
          database.exec(dropLog(name));
          database.exec(createLog(name, keyColumnsMax));
          database.prepare(`INSERT INTO ${quote(logTable(name))} VALUES (?, ?)`).run(id, keyColumnsMax);
          installTriggers();
        }),
      );
      confirmed = lastSeq();
      return { sourceId: id, position: confirmed.toString() };
    },
    async resume(stored, tables) {
      plans = tables;
      id = stored.sourceId;
      confirmed = BigInt(stored.position);
      await patiently(() =>
        fence.install(fenceNumber, () => {
          assertSameLog();
          const room = readId()?.keyColumns ?? 0;
          const wide = plans.find(table => table.key.length > room);
          if (wide) {
            throw refused(
              `the primary key of ${wide.source} has more columns than the change log in ${file} (${room}): raise \`generation\` to copy all rows again`,
            );
          }
          installTriggers();
        }),
      );
      if (lastSeq() < confirmed) {
        throw halted(
          `${file} is older than what was copied of it (change ${lastSeq()}, copied up to ${confirmed}), so it was set back: raise \`generation\` in the settings to copy all rows again`,
        );
      }
    },
    async readPage(table, after, rowsMax) {
      const columns = table.columns.map(column => column.name);
      const key = table.key.map(index => table.columns[index]?.name ?? '');
      const where = after === null ? '' : `WHERE (${list(key)}) > (${marks(key.length)})`;
      const statement = prepare(
        `SELECT ${list(columns)} FROM ${quote(table.source)} ${where} ORDER BY ${list(key)} LIMIT ${rowsMax}`,
      );
      return statement.all(...bind(after ?? [])) as unknown as Row[];
    },
    async readRow(table, key) {
      return rowAt(table, key);
    },
    holds: (table, key) => rowAt(table, key) !== null,
    async mark() {
      return lastSeq().toString();
    },
    reached: (position, mark) => BigInt(position) >= BigInt(mark),
    async *follow(from, signal): AsyncGenerator<SourceEvent> {
      let position = BigInt(from);
      let schema = -1;
      let pruned = position;
      for (;;) {
        signal.throwIfAborted();
        database.exec('BEGIN');
        try {
          const version = Number(database.prepare('PRAGMA schema_version').get()?.['schema_version']);
          if (version !== schema) checkLog();
          schema = version;
          const upTo = lastSeq();
          if (upTo > position) {
            const atMs = oldestMs(position);
            for (const changes of changesBetween(position, upTo)) yield { type: 'changes', changes, atMs };
            yield { type: 'commit', position: upTo.toString(), more: false };
            position = upTo;
          } else yield { type: 'idle', position: position.toString() };
        } finally {
          database.exec('ROLLBACK'); // only read
        }
        if (confirmed > pruned) {
          await prune(signal);
          pruned = confirmed;
        }
        if (lastSeq() === position) await system.timers.sleep(pollMs, signal);
      }
    },
    confirm(position) {
      confirmed = BigInt(position);
    },
    async backlog(position) {
      const [row] = rowsOf(
        prepare(`SELECT count(*) FROM ${quote(changeTable(name))} WHERE seq > ?`),
        BigInt(position),
      );
      const oldest = oldestMs(BigInt(position));
      return {
        rows: Number(row?.[0] ?? 0),
        bytes: null,
        oldestMs: oldest === null ? null : Math.max(0, system.clock.wallMs() - oldest),
        warnings: journalWarning(database, file),
      };
    },
    async retire() {
      await patiently(() =>
        fence.install(fenceNumber, () => {
          plans = [];
          installTriggers();
          database.exec(dropLog(name));
        }),
      );
    },
    async close() {
      if (database.isOpen) database.close();
    },
  };

  function rowAt(table: TablePlan, key: Key): Row | null {
    const names = table.key.map(index => table.columns[index]?.name ?? '');
    const columns = list(table.columns.map(column => column.name));
    const where = names.map(column => `${quote(column)} = ?`).join(' AND ');
    const [row] = rowsOf(prepare(`SELECT ${columns} FROM ${quote(table.source)} WHERE ${where}`), ...key);
    return row ?? null;
  }

  function oldestMs(after: bigint): number | null {
    const [row] = rowsOf(
      prepare(`SELECT at FROM ${quote(changeTable(name))} WHERE seq > ? ORDER BY seq LIMIT 1`),
      after,
    );
    return row?.[0] === undefined ? null : Number(row[0]);
  }

  /** After each change of the schema: the log is ours, the triggers are there, the tables have no other columns. */
  function checkLog(): void {
    assertSameLog();
    const shapes = sqliteShapes(
      database,
      plans.map(table => table.source),
    );
    for (const table of plans) {
      const shape = shapes.get(table.source);
      const columns = shape?.columns.filter(column => !column.generated).map(column => column.name) ?? [];
      if (columns.join('\n') !== table.columns.map(column => column.name).join('\n')) {
        throw halted(
          `the source's table ${table.source} has got other columns (${columns.join(', ') || 'none'}): give the target's ${table.target} the same, and it goes on by itself`,
        );
      }
      for (const trigger of triggersFor(name, table).keys()) {
        if (database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(trigger)) continue;
        throw halted(
          `the trigger ${trigger} on the source's table ${table.source} is gone, so changes may have been missed: raise \`generation\` in the settings to copy all rows again`,
        );
      }
    }
  }
}

function journalWarning(database: DatabaseSync, file: string): string[] {
  const mode = database.prepare('PRAGMA journal_mode').get()?.['journal_mode'];
  if (mode === 'wal') return [];
  return [
    `${file} is in journal mode ${String(mode)}, in which reading it makes its writers wait; set PRAGMA journal_mode = WAL`,
  ];
}
