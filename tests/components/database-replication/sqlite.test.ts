/** What does not need a PostgreSQL: one SQLite file copied to another, in this process. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { until } from '../../support/wait.ts';
import {
  configured,
  openFile,
  removeFolder,
  sqliteRows,
  startReplication,
  temporaryFolder,
  waitFor,
  type Given,
  type Running,
} from './harness.ts';

const table = 'CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE, age INTEGER CHECK (age >= 0))';

describe('database-replication: from SQLite to SQLite', function () {
  this.timeout(60_000);
  let directory: string;
  let source: DatabaseSync;
  let target: DatabaseSync;
  let running: Running[];
  let fence: bigint;

  beforeEach(async () => {
    directory = await temporaryFolder();
    source = openFile(join(directory, 'source.sqlite'));
    target = openFile(join(directory, 'target.sqlite'));
    source.exec(table);
    target.exec(table);
    running = [];
    fence = 0n;
  });
  afterEach(async () => {
    for (const one of running) await one.stop();
    source.close();
    target.close();
    await removeFolder(directory);
  });

  async function start(more: Given = {}): Promise<Running> {
    fence += 1n;
    const settings = {
      name: 'copy',
      source: { kind: 'sqlite', file: 'source.sqlite' },
      target: { kind: 'sqlite', file: 'target.sqlite' },
      tables: ['people'],
      pollMs: 10,
      ...more,
    };
    const one = await startReplication(settings, { directory, fence });
    running.push(one);
    return one;
  }
  const stop = (one: Running): Promise<void> => one.stop();
  const people = (database: DatabaseSync, columns = '*'): string =>
    sqliteRows(database, `SELECT ${columns} FROM people ORDER BY id`).join(' ');
  const same = (): Promise<true> =>
    until(
      'the target is the source',
      async () =>
        people(target) === people(source) ||
        Promise.reject(new Error(`${people(target)} / ${people(source)}`)),
    );
  const follows = (one: Running): Promise<unknown> =>
    waitFor(one, 'it follows', status => status.phase === 'following');
  const halts = (one: Running, pattern: RegExp): Promise<unknown> =>
    until('it halts', async () => {
      const { error } = await one.status();
      if (error && pattern.test(error.message)) return !one.health().ready;
      throw new Error(JSON.stringify(error));
    });
  const conflicts = (): string =>
    sqliteRows(target, 'SELECT change, finding, act, key FROM _holdfast_replication_conflicts').join(' ');

  it('copies what is there and follows: inserts, updates, other keys, deletes, REPLACE, swaps, a table emptied', async () => {
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 36), (2, 'Bob', 20), (3, 'Cy', 9007199254740993)`);
    const one = await start();
    await follows(one);
    assert.equal(people(target), '1,Ada,36 2,Bob,20 3,Cy,9007199254740993');
    source.exec(`BEGIN; UPDATE people SET id = 7 WHERE id = 1; INSERT INTO people VALUES (1, 'Eve', NULL);
      DELETE FROM people WHERE id = 2; COMMIT`);
    await same();
    // REPLACE deletes Ada's row 7, whose name it takes, and tells no trigger.
    source.exec(
      `INSERT OR REPLACE INTO people VALUES (9, 'Ada', 1); UPDATE OR REPLACE people SET name = 'Cy' WHERE id = 1`,
    );
    await same();
    assert.equal(people(target), '1,Cy, 9,Ada,1');
    source.exec(`BEGIN; UPDATE people SET name = 'x' WHERE id = 1; UPDATE people SET name = 'Cy' WHERE id = 9;
      UPDATE people SET name = 'Ada' WHERE id = 1; COMMIT`);
    await same();
    source.exec('DELETE FROM people');
    await same();
    const status = await one.status();
    assert.equal(status.conflicts, 0);
    assert.deepEqual([status.role, status.lag?.rows, status.error], ['owner', 0, null]);
    assert.deepEqual(
      sqliteRows(source, 'SELECT count(*) FROM _holdfast_copy_changes'),
      [[0n]],
      'the log is pruned',
    );
  });

  it('goes on where it stopped, and tells how much waits', async () => {
    const first = await start();
    await follows(first);
    await stop(first);
    source.exec(
      `INSERT INTO people VALUES (1, 'Ada', 36); DELETE FROM people; INSERT INTO people VALUES (2, 'Bob', 1)`,
    );
    await start();
    await same();
    assert.equal(people(target), '2,Bob,1');
  });

  it('lets an older owner, which does not know that it is, write nothing any more', async () => {
    const older = await start();
    await follows(older);
    const newer = await start();
    await follows(newer);
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 36)`);
    await same();
    // It notices with the first change that it sees before the newer one has taken it away.
    let id = 1;
    await until('the older one notices', async () => {
      source.exec(`INSERT INTO people VALUES (${(id += 1)}, 'Bob ${id}', 1)`);
      return older.logs.some(({ facts }) => (facts as { code?: string }).code === 'HF_FENCED');
    });
    await same();
    assert.equal((await newer.status()).rows, id);
    assert.match((await older.status()).error?.message ?? '', /has seen the fence 2, ours is 1/);
  });

  it('halts at a conflict, says which row, and goes on by itself when it is mended', async () => {
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 36)`);
    const one = await start();
    await follows(one);
    target.exec('DELETE FROM people');
    source.exec('UPDATE people SET age = 37');
    await halts(
      one,
      /update of people, key \[\{"i":"1"\}\]: the target's people has no such row; .*"source"/,
    );
    target.exec(`INSERT INTO people VALUES (1, 'Ada', 36)`);
    await same();
    await until('it is well again', async () => one.health().ready);
  });

  it('takes the source to be right, if it is told so, and records what it met', async () => {
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 36), (2, 'Bob', 1)`);
    const one = await start({ conflicts: 'source' });
    await follows(one);
    target.exec(`DELETE FROM people; INSERT INTO people VALUES (3, 'foreign', 1), (4, 'Dora', 4)`);
    source.exec(`BEGIN; UPDATE people SET age = 37 WHERE id = 1; DELETE FROM people WHERE id = 2;
      INSERT INTO people VALUES (3, 'Cy', 1), (5, 'Dora', 5); COMMIT`);
    await same();
    const found = ['delete,missing,nothing,[{"i":"2"}]', 'update,missing,overwrite,[{"i":"1"}]'];
    found.push('insert,exists,overwrite,[{"i":"3"}]', 'insert,blocked,make-room,[{"i":"5"}]');
    assert.equal(conflicts(), found.join(' '));
    assert.equal((await one.status()).conflicts, 4);
  });

  it('leaves the target’s row, or the source’s out, if it is told to skip', async () => {
    target.exec(
      'DROP TABLE people; CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age INTEGER CHECK (age < 100))',
    );
    const one = await start({ conflicts: 'skip' });
    await follows(one);
    target.exec(`INSERT INTO people VALUES (1, 'mine', 1)`);
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 36), (2, 'Old', 200), (3, 'Cy', 3)`);
    await until('the rest is here', async () => people(target, 'name') === 'mine Cy');
    assert.equal(conflicts(), 'insert,exists,nothing,[{"i":"1"}] insert,unfit,nothing,[{"i":"2"}]');
  });

  it('refuses schemas that do not fit and rows that are not its own, and begins when that is mended', async () => {
    source.exec(
      `ALTER TABLE people ADD COLUMN city TEXT; INSERT INTO people VALUES (1, 'Ada', 36, 'London')`,
    );
    target.exec(`INSERT INTO people VALUES (8, 'foreign', 1)`);
    const one = await start();
    await halts(one, /column city of people is missing there .* ALTER TABLE "people" ADD COLUMN "city" TEXT/);
    target.exec('ALTER TABLE people ADD COLUMN city TEXT');
    await halts(one, /the target's people has rows already.*"existingRows"|`existingRows`/);
    target.exec('DELETE FROM people');
    await same();
    // Later, in the middle of following:
    source.exec(
      `ALTER TABLE people ADD COLUMN zip TEXT; INSERT INTO people VALUES (2, 'Bob', 1, 'Rome', '00100')`,
    );
    await halts(one, /people has got other columns \(.*zip\)|column zip of people is missing/);
    target.exec('ALTER TABLE people ADD COLUMN zip TEXT');
    await same();
  });

  it('copies a table that is named later, and all tables anew in a new generation', async () => {
    source.exec(
      `CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO pets VALUES (1, 'Rex'); INSERT INTO people VALUES (1, 'Ada', 3)`,
    );
    target.exec('CREATE TABLE animals (id INTEGER PRIMARY KEY, name TEXT)');
    await follows(await start());
    await stop(running.pop()!);
    const tables = ['people', { source: 'pets', target: 'animals' }];
    await follows(await start({ tables }));
    assert.deepEqual(sqliteRows(target, 'SELECT * FROM animals'), [[1n, 'Rex']]);
    await stop(running.pop()!);
    // What the log did not see, because its triggers were away.
    source.exec(`DROP TRIGGER "_holdfast_copy_on_people_delete"; DELETE FROM people`);
    target.exec(`INSERT INTO people VALUES (77, 'stray', 1)`);
    await follows(await start({ tables, generation: 2 }));
    await same();
    await stop(running.pop()!);
    await halts(await start({ tables }), /generation is 1, but 2 has been begun/);
  });

  it('notices a source that is another one, or was set back', async () => {
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 3)`);
    const one = await start();
    await follows(one);
    source.exec(`UPDATE people SET age = 4`);
    await same();
    await until('the position is stored', async () => (await one.status()).position === '1');
    await stop(running.pop()!);
    source.exec(
      `DELETE FROM _holdfast_copy_changes; UPDATE sqlite_sequence SET seq = 0 WHERE name = '_holdfast_copy_changes'`,
    );
    const two = await start();
    await halts(two, /is older than what was copied of it \(change 0, copied up to 1\)/);
    await stop(running.pop()!);
    source.exec(`UPDATE _holdfast_copy_log SET id = 'another'`);
    await halts(await start(), /change log .* is not the one that was begun with/);
  });

  it('takes away what it made in the source when it is retired', async () => {
    await follows(await start());
    await stop(running.pop()!);
    const one = await start({ retired: true });
    await waitFor(one, 'it has retired', status => status.phase === 'retired');
    const left = sqliteRows(
      source,
      `SELECT name FROM sqlite_schema WHERE name LIKE '\\_holdfast%' ESCAPE '\\' AND name NOT LIKE '%fence%'`,
    );
    assert.deepEqual(left, []);
    source.exec(`INSERT INTO people VALUES (1, 'Ada', 3)`);
    assert.equal(people(target), '');
  });

  it('refuses settings that name a table twice, one file twice, a missing file, or hold a password', async () => {
    await assert.rejects(start({ tables: ['people', 'people'] }), /people is named twice/);
    await assert.rejects(start({ target: { kind: 'sqlite', file: 'source.sqlite' } }), /the same file/);
    await assert.rejects(start({ tables: ['main.people'] }), /has a dot/);
    const url = 'postgres://app:hunter2@127.0.0.1/shop';
    await assert.rejects(
      start({ source: { kind: 'postgres', url } }),
      (error: Error) => /secretRef/.test(error.message) && !error.message.includes('hunter2'),
    );
    const passwordEnv = 'NOT_THERE';
    await assert.rejects(
      start({ source: { kind: 'postgres', url: 'postgres://a@b/c', passwordEnv } }),
      /NOT_THERE, which is not in the environment/,
    );
    await assert.rejects(configured({ name: 'Copy!' }), { code: 'HF_SETTINGS_INVALID' });
    await halts(
      await start({ target: { kind: 'sqlite', file: 'nowhere.sqlite' } }),
      /nowhere\.sqlite does not exist/,
    );
  });
});
