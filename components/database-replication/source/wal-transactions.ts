/** What a slot sends, as transactions of our tables. Relations are compared with the plan whenever the server tells them anew. */
import { keyOf, type TablePlan } from '../schema/plan.ts';
import type { Cell, Key, Row } from '../cells.ts';
import { rowBytes } from '../cells.ts';
import type { Change, SourceEvent } from '../change.ts';
import { halted } from '../problem.ts';
import { formatLsn, type Lsn } from './lsn.ts';
import type { RelationColumn, TextRow, WalMessage } from './pgoutput.ts';
import { batchBytesMax } from './source.ts';
import type { WalStream } from './wal-stream.ts';

interface Relation {
  readonly table: TablePlan;
  /** For each column of the plan its place in what the server sends; -1: the table did not have it then. */
  readonly places: readonly number[];
}

export async function* transactionsOf(
  stream: Pick<WalStream, 'next' | 'hasMore'>,
  options: { from: Lsn; tables: ReadonlyMap<string, TablePlan>; batchRows: number },
): AsyncGenerator<SourceEvent> {
  const { from, tables, batchRows } = options;
  const relations = new Map<number, Relation>();
  let changes: Change[] = [];
  let bytes = 0;
  let atMs: number | null = null;
  let inside = false;
  /** The target has it: the server sends again what it had not heard to be confirmed. */
  let known = false;
  for (;;) {
    const item = await stream.next();
    if (item.type === 'alive') {
      if (!inside && !stream.hasMore()) yield { type: 'idle', position: formatLsn(item.end) };
      continue;
    }
    const { message } = item;
    switch (message.type) {
      case 'begin':
        inside = true;
        atMs = message.committedMs;
        known = message.commitAt < from;
        break;
      case 'relation': {
        const table = tables.get(message.table);
        if (table) relations.set(message.id, { table, places: placesOf(table, message.columns) });
        break;
      }
      case 'commit':
        inside = false;
        if (changes.length > 0) yield { type: 'changes', changes, atMs };
        changes = [];
        bytes = 0;
        if (known) break;
        yield {
          type: 'commit',
          position: formatLsn(message.end),
          more: stream.hasMore(),
        };
        break;
      case 'other':
        break;
      default: {
        if (known) break;
        const change = changeOf(message, relations);
        if (!change) break;
        changes.push(change);
        if ('row' in change) bytes += rowBytes(change.row);
        if (changes.length < batchRows && bytes < batchBytesMax) break;
        yield { type: 'changes', changes, atMs };
        changes = [];
        bytes = 0;
      }
    }
  }
}

/** @throws ReplicationProblem HF_REPLICATION_HALTED when the table has columns that nobody has planned for */
function placesOf(table: TablePlan, columns: readonly RelationColumn[]): number[] {
  const unknown = columns.filter(column => !table.columns.some(planned => planned.name === column.name));
  if (unknown.length > 0) {
    const names = unknown.map(column => column.name).join(', ');
    throw halted(
      `the source's table ${table.source} has got other columns (${names}): give them to the target's ${table.target} too, and it goes on by itself`,
    );
  }
  return table.columns.map(planned => columns.findIndex(column => column.name === planned.name));
}

function changeOf(
  message: Exclude<WalMessage, { type: 'begin' | 'commit' | 'relation' | 'other' }>,
  relations: ReadonlyMap<number, Relation>,
): Change | null {
  if (message.type === 'truncate') {
    const tables = message.relations.flatMap(id => relations.get(id)?.table ?? []);
    return tables.length === 0 ? null : { type: 'truncate', tables };
  }
  const relation = relations.get(message.relation);
  if (!relation) return null;
  const { table } = relation;
  if (message.type === 'delete') return { type: 'delete', table, key: oldKey(relation, message.old) };
  const row = pick(relation, message.row);
  if (message.type === 'insert') return { type: 'insert', table, key: keyOf(table, row), row };
  const key = message.old ? oldKey(relation, message.old) : keyOf(table, row);
  return { type: 'update', table, key, row };
}

const pick = ({ places }: Relation, row: TextRow): Row => places.map(place => row[place]);

function oldKey(relation: Relation, row: TextRow): Key {
  return relation.table.key.map((index): Cell => row[relation.places[index] ?? -1] ?? null);
}
