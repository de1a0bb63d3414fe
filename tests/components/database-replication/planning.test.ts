import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { RowChange } from '../../../components/database-replication/change.ts';
import { decide, type ConflictQuestion } from '../../../components/database-replication/conflicts.ts';
import { nextPageRows } from '../../../components/database-replication/copy.ts';
import { halted } from '../../../components/database-replication/problem.ts';
import { retryDelayMs } from '../../../components/database-replication/retry.ts';
import type { TableShape } from '../../../components/database-replication/schema/plan.ts';
import { checkSchemas, type Side } from '../../../components/database-replication/schema/schema-check.ts';
import {
  decodeWalMessage,
  type WalMessage,
} from '../../../components/database-replication/source/pgoutput.ts';
import type { Lsn } from '../../../components/database-replication/source/lsn.ts';
import { transactionsOf } from '../../../components/database-replication/source/wal-transactions.ts';
import {
  groupsOf,
  statementFor,
  windowsOf,
} from '../../../components/database-replication/target/postgres-statements.ts';

const column = (name: string, type: string, more: object = {}) => ({
  name,
  type,
  nullable: true,
  hasDefault: false,
  generated: false,
  ...more,
});
const side = (kind: Side['kind'], ...shapes: TableShape[]): Side => ({
  kind,
  shapes: new Map(shapes.map(shape => [shape.name, shape])),
});
const shape = (name: string, columns: TableShape['columns'], more: Partial<TableShape> = {}): TableShape => ({
  name,
  columns,
  key: ['id'],
  uniques: [],
  ...more,
});
const id = column('id', 'bigint', { nullable: false });
const pair = { source: 'public.t', target: 't' };

function planned() {
  const verdict = checkSchemas(
    [pair],
    side('sqlite', shape('public.t', [column('id', 'INTEGER', { nullable: false }), column('v', 'TEXT')])),
    side('postgres', shape('t', [id, column('v', 'text')])),
  );
  assert(verdict.fits);
  return verdict.tables[0]!;
}

describe('database-replication: decisions', () => {
  it('say for each misfit of the schemas what, where, and how to mend it', () => {
    const from = shape('public.t', [id, column('price', 'numeric'), column('note', 'text')]);
    const check = (...to: TableShape[]) =>
      checkSchemas([pair], side('postgres', from), side('sqlite', ...to));
    assert.deepEqual(check(), {
      fits: false,
      problems: [
        'the target has no table t; make it, for example: CREATE TABLE "t" ("id" INTEGER NOT NULL, "price" TEXT, "note" TEXT, PRIMARY KEY ("id"))',
      ],
    });
    const wrong = check(
      shape(
        't',
        [column('id', 'INTEGER'), column('price', 'REAL'), column('extra', 'TEXT', { nullable: false })],
        { key: ['price'] },
      ),
    );
    assert(!wrong.fits);
    const [price, note, extra, key] = wrong.problems;
    assert.match(
      price!,
      /column price of public\.t → t: PostgreSQL's numeric and SQLite's REAL .* TEXT or NONE/,
    );
    assert.match(note!, /column note .* missing .* ALTER TABLE "t" ADD COLUMN "note" TEXT/);
    assert.match(extra!, /column extra .* NOT NULL, has no default/);
    assert.match(key!, /primary key of the target's t is \(price\), expected .*: \(id\)/);
    const keyless = checkSchemas([pair], side('postgres', { ...from, key: [] }), side('sqlite'));
    assert.match(keyless.fits ? '' : keyless.problems[0]!, /no primary key/);
  });

  it('never call it a conflict before the target has caught up, and never overwrite against the policy afterwards', () => {
    const question: fc.Arbitrary<ConflictQuestion> = fc.record({
      policy: fc.constantFrom('source', 'skip', 'halt'),
      phase: fc.constantFrom('copying', 'catching-up', 'following'),
      change: fc.constantFrom('insert', 'upsert', 'update', 'delete'),
      finding: fc.constantFrom('exists', 'missing', 'blocked', 'unfit'),
      fleeting: fc.boolean(),
      stale: fc.boolean(),
    });
    fc.assert(
      fc.property(question, asked => {
        const { act, record } = decide(asked);
        const { policy, phase, finding, change, fleeting, stale } = asked;
        if (finding === 'unfit') {
          assert.deepEqual(
            { act, record },
            { act: policy === 'skip' ? 'nothing' : 'halt', record: policy === 'skip' },
          );
          return;
        }
        const expected =
          phase !== 'following' || (finding === 'missing' && fleeting) || (finding === 'blocked' && stale);
        assert.equal(record, !expected && policy !== 'halt');
        if (expected) assert.notEqual(act, 'halt');
        else if (policy === 'skip') assert.equal(act, 'nothing');
        else if (policy === 'halt') assert.equal(act, 'halt');
        if (act === 'overwrite') assert.notEqual(change, 'delete');
      }),
      { numRuns: 300 },
    );
  });

  it('put into one window no row twice, and lose and reorder nothing of one row', () => {
    const table = planned();
    const key = fc.integer({ min: 0, max: 8 }).map(BigInt);
    const change: fc.Arbitrary<RowChange> = fc.oneof(
      key.map((k): RowChange => ({ type: 'delete', table, key: [k] })),
      fc
        .tuple(key, key)
        .map(([k, next]): RowChange => ({ type: 'update', table, key: [k], row: [next, 'x'] })),
      key.map((k): RowChange => ({ type: 'insert', table, key: [k], row: [k, 'x'] })),
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), changes => {
        const windows = windowsOf(changes);
        assert.deepEqual(windows.flat(), changes);
        for (const window of windows) {
          const keys = window.flatMap(one => [
            ...new Set([one.key[0], ...('row' in one ? [one.row[0]] : [])].map(String)),
          ]);
          assert.equal(new Set(keys).size, keys.length);
          const groups = groupsOf(window);
          assert.equal(groups.flatMap(group => group.changes).length, window.length);
          for (const group of groups) assert.equal(statementFor(group).rows, group.changes.length);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('write many rows as arrays, with casts that cut nothing off', () => {
    const table = planned();
    const rows: RowChange[] = ['1', '2'].map(k => ({ type: 'upsert', table, key: [k], row: [k, `v${k}`] }));
    assert.deepEqual(statementFor({ type: 'upsert', table, changes: rows }), {
      text: 'INSERT INTO "public"."t" ("id", "v") OVERRIDING SYSTEM VALUE SELECT given.c0::bigint, given.c1::text FROM unnest($1::text[], $2::text[]) AS given (c0, c1) ON CONFLICT ("id") DO UPDATE SET "v" = excluded."v"',
      values: [
        ['1', '2'],
        ['v1', 'v2'],
      ],
      rows: 2,
    });
  });

  it('read pages of about a mebibyte, and wait longer for what nobody has mended yet', () => {
    assert.equal(nextPageRows(100, 100 * 1024 ** 2), 1);
    assert.equal(nextPageRows(100, 100), 2_000);
    assert.equal(nextPageRows(100, 100 * 10_486), 99);
    assert.equal(retryDelayMs(halted('x'), 1), 2_000);
    assert.deepEqual(
      [1, 2, 3, 60].map(count => retryDelayMs(new Error('x'), count)),
      [100, 200, 400, 5_000],
    );
  });
});

describe('database-replication: PostgreSQL’s stream', () => {
  const uint = (value: number, bytes: 2 | 4): Buffer => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUIntBE(value, 0, bytes);
    return buffer;
  };
  const row = (cells: (string | null | undefined)[]): Buffer =>
    Buffer.concat([
      uint(cells.length, 2),
      ...cells.map(cell => {
        if (cell === null) return Buffer.from('n');
        if (cell === undefined) return Buffer.from('u');
        const bytes = Buffer.from(cell);
        return Buffer.concat([Buffer.from('t'), uint(bytes.length, 4), bytes]);
      }),
    ]);
  const update = (kind: string, old: Buffer, next: Buffer): Buffer =>
    Buffer.concat([Buffer.from('U'), uint(7, 4), Buffer.from(kind), old, Buffer.from('N'), next]);

  it('is read for any values, and refused where it is cut off', () => {
    const cells = fc.array(
      fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant(null), fc.constant(undefined)),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(cells, fc.nat(), (values, cut) => {
        const bytes = Buffer.concat([Buffer.from('I'), uint(7, 4), Buffer.from('N'), row(values)]);
        assert.deepEqual(decodeWalMessage(bytes), { type: 'insert', relation: 7, row: values });
        const shorter = bytes.subarray(0, cut % bytes.length);
        assert.throws(() => decodeWalMessage(shorter), Error);
      }),
      { numRuns: 200 },
    );
  });

  it('fills in large values that an update did not touch, where the whole old row was sent', () => {
    const old = row(['1', 'large']);
    const next = row(['2', undefined]);
    const whole = { type: 'update', relation: 7, old: ['1', 'large'] };
    assert.deepEqual(decodeWalMessage(update('O', old, next)), { ...whole, row: ['2', 'large'] });
    assert.deepEqual(decodeWalMessage(update('K', old, next)), { ...whole, row: ['2', undefined] });
  });

  it('becomes whole transactions: none twice, those of other tables empty, large ones in parts', async () => {
    const table = { ...planned(), source: 'public.t' };
    const relation: WalMessage = {
      type: 'relation',
      id: 7,
      table: 'public.t',
      columns: [
        { name: 'v', typeOid: 25 },
        { name: 'id', typeOid: 20 },
      ],
    };
    const insert = (key: string): WalMessage => ({ type: 'insert', relation: 7, row: ['v', key] });
    const begin = (at: bigint): WalMessage => ({
      type: 'begin',
      commitAt: at as Lsn,
      committedMs: Number(at),
    });
    const commit = (end: bigint): WalMessage => ({ type: 'commit', end: end as Lsn, committedMs: 0 });
    const messages: WalMessage[] = [
      [begin(90n), relation, insert('0'), commit(99n)], // known already
      [begin(100n), insert('1'), insert('2'), insert('3'), commit(110n)],
      [begin(120n), { ...insert('4'), relation: 8 } as WalMessage, commit(130n)],
    ].flat();
    const items = messages.map(message => ({ type: 'message' as const, message, bytes: 1 }));
    const ended = new Error('the end');
    const stream = {
      next: async () => {
        const item = items.shift();
        if (!item) throw ended;
        return item;
      },
      hasMore: () => items.length > 0,
    };
    const seen: string[] = [];
    const options = { from: 100n as Lsn, tables: new Map([['public.t', table]]), batchRows: 2 };
    await assert.rejects(async () => {
      for await (const event of transactionsOf(stream, options)) {
        if (event.type === 'changes')
          seen.push(event.changes.map(one => ('key' in one ? one.key.join() : '')).join(' '));
        else seen.push(`${event.type} ${event.position}`);
      }
    }, ended);
    assert.deepEqual(seen, ['1 2', '3', 'commit 0/6E', 'commit 0/82']);
  });

  it('halts when a table gets a column that nobody has planned for', async () => {
    const message: WalMessage = {
      type: 'relation',
      id: 7,
      table: 'public.t',
      columns: [{ name: 'new', typeOid: 25 }],
    };
    const stream = {
      next: async () => ({ type: 'message' as const, message, bytes: 1 }),
      hasMore: () => false,
    };
    const events = transactionsOf(stream, {
      from: 0n as Lsn,
      tables: new Map([['public.t', planned()]]),
      batchRows: 1,
    });
    await assert.rejects(events.next(), { code: 'HF_REPLICATION_HALTED', message: /other columns \(new\)/ });
  });
});
