import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { databaseFileName } from '../../../components/sqlite-service/file-name.ts';
import { removeFolder, startService, temporaryFolder, type Service } from './harness.ts';

describe('sqlite-service: fences', () => {
  const key = '/db/shared';
  let directory: string;
  let older: Service;
  let newer: Service;

  before(async () => {
    directory = await temporaryFolder();
    // Two hosts of one machine, which share the data folder.
    older = await startService(directory, { processes: 1 }, { processId: 'older' });
    newer = await startService(directory, { processes: 1 }, { processId: 'newer' });
  });
  beforeEach(() => removeFolder(join(directory, 'data')));
  after(async () => {
    await Promise.all([older.stop(), newer.stop()]);
    await removeFolder(directory);
  });

  it('refuses reads and writes of an owner once a newer one has opened the database', async () => {
    const first = await older.open(key, 5n);
    await first.sql("INSERT INTO customers (name) VALUES ('before')");
    const second = await newer.open(key, 6n, { hadOwner: true });
    for (const text of ["INSERT INTO customers (name) VALUES ('late')", 'SELECT 1']) {
      await assert.rejects(first.sql(text), {
        name: 'HoldfastError',
        code: 'HF_FENCED',
        details: { fence: '6' },
      });
    }
    await assert.rejects(first.get(), { code: 'HF_FENCED' });
    assert.deepEqual((await second.sql('SELECT name FROM customers')).body.results, [{ name: 'before' }]);
  });

  it('refuses to open with a fence that the file has seen, and says which', async () => {
    await older.open(key, 7n);
    for (const fence of [7n, 3n]) {
      await assert.rejects(newer.open(key, fence), { code: 'HF_FENCED', details: { fence: '7' } });
    }
    await newer.open(key, 8n);
  });

  it('sees a newer fence also after a statement that failed halfway', async () => {
    const first = await older.open(key, 1n);
    const failing = "WITH c(x) AS (VALUES (1), (0)) SELECT json(CASE x WHEN 0 THEN '{' ELSE '1' END) FROM c";
    assert.equal((await first.sql(failing)).status, 400);
    assert.equal((await first.sql('INSERT INTO customers (id) VALUES (1), (1)')).status, 400);
    await newer.open(key, 2n, { hadOwner: true });
    await assert.rejects(first.sql('SELECT 1'), { code: 'HF_FENCED' });
  });

  it('takes fences up to the largest integer of SQLite', async () => {
    const database = await older.open(key, 2n ** 63n - 1n);
    assert.equal((await database.get()).body.fence, '9223372036854775807');
  });

  it('lets no write of an older owner in while owners change under load', async () => {
    const first = await older.open(key, 1n);
    const accepted: number[] = [];
    let number = 0;
    const writing = (async () => {
      for (;;) {
        const mine = ++number;
        const answer = await first.send({
          query: 'INSERT INTO customers (id) VALUES (?)',
          parameters: [mine],
        });
        assert.equal(answer.status, 200, JSON.stringify(answer.body));
        accepted.push(mine);
      }
    })();
    const ended = assert.rejects(writing, { code: 'HF_FENCED' });
    while (accepted.length < 20) await new Promise(resolve => setImmediate(resolve));
    const second = await newer.open(key, 2n, { hadOwner: true });
    const seen = (await second.sql('SELECT id FROM customers')).body.results!.map(row => row.id);
    await ended;
    // What the new owner saw first is exactly what the old one had got through.
    assert.deepEqual(seen, accepted);
    assert.deepEqual((await second.sql('SELECT count(*) AS n FROM customers')).body.results, [
      { n: seen.length },
    ]);
  });

  it('does not make an empty database of one that must be there', async () => {
    await assert.rejects(older.open(key, 1n, { hadOwner: true }), { code: 'HF_STATE_MISSING' });
    await older.open(key, 2n, { hadOwner: false });
  });

  it('notices that its file is gone when it opens it again', async () => {
    const many = await startService(directory, { processes: 1, openDatabases: 1 });
    try {
      const first = await many.open('/db/one', 1n);
      await many.open('/db/two', 1n); // closes the first
      await rm(join(directory, 'data', databaseFileName('/db/one')));
      const answer = await first.sql('SELECT 1');
      assert.equal(answer.status, 503);
      assert.equal(answer.body.code, 'HF_STATE_MISSING');
    } finally {
      await many.stop();
    }
  });

  it('leaves a file that is no database as it is', async () => {
    const database = await older.open(key, 1n);
    await database.handler.close();
    const path = join(directory, 'data', databaseFileName(key));
    await writeFile(path, 'not a database, but somebody’s data '.repeat(100));
    await assert.rejects(older.open(key, 2n, { hadOwner: true }), { code: 'HF_STATE_UNUSABLE' });
  });

  it('finishes what a crash left of making a file', async () => {
    await older.open('/db/other', 1n); // makes the folder
    await writeFile(join(directory, 'data', databaseFileName(key)), '');
    const database = await older.open(key, 1n);
    assert.equal((await database.sql('SELECT * FROM customers')).status, 200);
  });

  it('moves the log into the file on close, so that the file alone is the database', async () => {
    const database = await older.open(key, 1n);
    await database.sql("INSERT INTO customers (name) VALUES ('kept')");
    await database.handler.close();
    const path = join(directory, 'data', databaseFileName(key));
    await rm(`${path}-wal`, { force: true });
    await rm(`${path}-shm`, { force: true });
    const file = new DatabaseSync(path, { readOnly: true });
    assert.deepEqual({ ...file.prepare('SELECT name FROM customers').get() }, { name: 'kept' });
    file.close();
  });

  it('answers nothing once the right has ended, and tells that nothing was executed', async () => {
    const database = await older.open(key, 1n);
    database.lose();
    await assert.rejects(database.sql('DELETE FROM customers'), { code: 'HF_NOT_OWNER' });
  });
});
