import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { createSystem, type Component, type Message } from '#core';
import { createService } from '../../../components/table-writer/service.ts';
import { deliveryOf, makeTestContext, started, type TestContext } from '../../support/component-context.ts';
import { findPostgres, startPostgres, type PostgresServer } from '../../support/postgres-server.ts';
import { skipLoudly } from '../../support/skip-loudly.ts';
import { until } from '../../support/wait.ts';

interface Database {
  target: object;
  query(sql: string): Promise<Record<string, unknown>[]>;
  /** Nobody can write until the result is called. */
  takeAway(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

const urlEnv = 'TABLE_WRITER_TEST_URL';
const columns = {
  id: 'integer',
  name: { type: 'text', from: 'Name' },
  score: 'real',
  good: 'boolean',
  more: 'json',
};

async function openSqlite(directory: string): Promise<Database> {
  const file = join(directory, 'rows.sqlite');
  const read = async (sql: string) => {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      return database.prepare(sql).all();
    } finally {
      database.close();
    }
  };
  return {
    target: { kind: 'sqlite', file },
    query: read,
    async takeAway() {
      const other = new DatabaseSync(file);
      other.exec('BEGIN IMMEDIATE');
      return async () => {
        other.exec('COMMIT');
        other.close();
      };
    },
    async close() {},
  };
}

async function openPostgres(server: PostgresServer): Promise<Database> {
  const query = async (sql: string) => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await query('DROP TABLE IF EXISTS people, written_messages');
  process.env[urlEnv] = server.url;
  return {
    target: { kind: 'postgres', urlEnv },
    query,
    async takeAway() {
      await server.kill();
      return () => server.start();
    },
    async close() {
      delete process.env[urlEnv];
    },
  };
}

for (const kind of ['sqlite', 'postgres'] as const) {
  describe(`table-writer: ${kind}`, () => {
    let directory: string;
    let server: PostgresServer | null = null;
    let database: Database;
    const running: { stop(): Promise<void> }[] = [];

    before(async function () {
      this.timeout(60_000);
      if (kind === 'sqlite') return;
      if (!findPostgres()) skipLoudly(this, 'PostgreSQL is not installed');
      server = await startPostgres();
    });
    after(() => server?.stop());
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'holdfast-writer-'));
      database = server ? await openPostgres(server) : await openSqlite(directory);
    });
    afterEach(async () => {
      await Promise.all(running.splice(0).map(one => one.stop()));
      await database.close();
      await rm(directory, { recursive: true, force: true });
    });

    async function writer(settings: Record<string, unknown> = {}): Promise<{
      context: TestContext;
      component: Component;
      send(id: string, rows: unknown): Promise<void>;
    }> {
      const context = await makeTestContext({
        component: 'table-writer',
        dataDirectory: directory,
        settings: { table: 'people', columns, key: ['id'], target: database.target, ...settings },
      });
      const component = createService(context, createSystem());
      running.push(await started(component));
      const send = (messageId: string, rows: unknown) => {
        const content = JSON.stringify({ rows });
        const message: Message = { messageId, source: 'test', timestamp: '', content, properties: {} };
        return component.onMessage!(message, deliveryOf(1));
      };
      return { context, component, send };
    }

    it('writes rows by their types, overwrites those with the same key, and a repeated message writes nothing', async () => {
      const { send, context } = await writer();
      assert.deepEqual(context.subscriptions, ['row']);
      await send('m1', [
        { id: 1, Name: 'Ada', score: 1.5, good: true, more: { a: [1] } },
        { id: 2, Name: 'Bob' },
      ]);
      await send('m2', [{ id: 2, Name: 'Robert' }]);
      await send('m1', [{ id: 2, Name: 'Bob' }]);
      const rows = await database.query('SELECT * FROM people ORDER BY id');
      assert.deepEqual(
        rows.map(({ id, name, score }) => [Number(id), name, score]),
        [
          [1, 'Ada', 1.5],
          [2, 'Robert', null],
        ],
      );
      assert.equal(Number(rows[0]!.good), 1);
      const more = rows[0]!.more;
      assert.deepEqual(typeof more === 'string' ? JSON.parse(more) : more, { a: [1] });
    });

    it('of a message with a bad row nothing is written, and the reason names the place', async () => {
      const { send } = await writer();
      await assert.rejects(
        send('m1', [{ id: 1 }, { id: 'two' }]),
        /row 1: "id" is "two", but column id takes integer/,
      );
      await assert.rejects(send('m2', [{ Name: 'nobody' }]), /row 0 has no "id"/);
      await send('m3', [{ id: 3 }]);
      // The database refuses it: the first row is not there either, nor is the id of the message.
      const strict = await writer({ columns: { ...columns, missing: 'text' }, createTable: false });
      await assert.rejects(strict.send('m4', [{ id: 4 }]), /missing/);
      assert.equal((await database.query('SELECT * FROM people')).length, 1);
      assert.equal((await database.query('SELECT * FROM written_messages')).length, 1);
    });

    it('two copies that get the same messages write each once', async () => {
      const copies = [await writer({ key: [], concurrency: 4 }), await writer({ key: [], concurrency: 4 })];
      const ids = Array.from({ length: 20 }, (_, index) => `m${index}`);
      await Promise.all(copies.flatMap(({ send }) => ids.map(id => send(id, [{ id: 1, Name: id }]))));
      const rows = await database.query('SELECT name FROM people');
      assert.equal(rows.length, ids.length);
      assert.deepEqual(new Set(rows.map(row => row.name)), new Set(ids));
    });

    it('while the database is away messages wait, and the status says so', async function () {
      this.timeout(60_000);
      const { send, context } = await writer();
      await send('m1', [{ id: 1 }]);
      const bring = await database.takeAway();
      const waiting = send('m2', [{ id: 2 }]);
      await until('the report', async () => !context.health.ready);
      assert.match(context.health.message ?? '', /wait for the database/);
      await bring();
      await waiting;
      assert(context.health.ready);
      assert.equal((await database.query('SELECT * FROM people')).length, 2);
    });
  });
}

describe('table-writer: settings', () => {
  it('a key that is no column, and an environment without the URL, are refused with what to do', async () => {
    const refused = async (settings: Record<string, unknown>, message: RegExp) => {
      const context = await makeTestContext({
        component: 'table-writer',
        dataDirectory: '/nowhere',
        settings: { table: 'people', columns, ...settings },
      });
      await assert.rejects(started(createService(context, createSystem())), {
        code: 'HF_SETTINGS_INVALID',
        message,
      });
    };
    await refused({ key: ['Name'] }, /key: "Name" is none of the columns/);
    await refused({ target: { kind: 'postgres', urlEnv: 'NOT_THERE' } }, /secretRef/);
  });
});
