import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSqliteFence } from '#fences';
import { fenceConformance } from './conformance.ts';

describe('SQLite fences', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-fences-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  fenceConformance('sqlite', () => join(directory, 'list.sqlite'));

  describe('in one process', () => {
    let database: DatabaseSync;
    beforeEach(() => {
      database = new DatabaseSync(join(directory, 'one.sqlite'));
      database.exec('CREATE TABLE entry (id INTEGER PRIMARY KEY)');
    });
    afterEach(() => database.close());
    const count = () => database.prepare('SELECT count(*) AS count FROM entry').get()!['count'];
    const insert = () => database.exec('INSERT INTO entry DEFAULT VALUES');

    it('rolls back what the work did when it throws', () => {
      const fence = createSqliteFence(database);
      fence.install(1n);
      const work = () => {
        insert();
        throw new Error('no');
      };
      assert.throws(() => fence.write(1n, work), { message: 'no' });
      assert.equal(count(), 0);
      fence.write(1n, insert);
      assert.equal(count(), 1);
    });

    it('refuses async work, which would write after the check', () => {
      const fence = createSqliteFence(database);
      fence.install(1n);
      assert.throws(() => fence.write(1n, async () => insert()), TypeError);
      const preparing: () => unknown = async () => insert();
      assert.throws(() => fence.install(2n, preparing as () => void), TypeError);
      assert.equal(count(), 0);
      assert.throws(() => fence.write(2n, insert), { code: 'HF_FENCED' });
    });

    it('checks inside a transaction of the caller, and only there', () => {
      const fence = createSqliteFence(database);
      fence.install(2n);
      assert.throws(() => fence.check(2n), /in no transaction/);
      database.exec('BEGIN IMMEDIATE');
      fence.check(2n);
      assert.throws(() => fence.check(1n), { code: 'HF_FENCED', details: { fence: '2' } });
      database.exec('ROLLBACK');
    });

    it('leaves a transaction of the caller alone', () => {
      const fence = createSqliteFence(database);
      fence.install(1n);
      database.exec('BEGIN');
      insert();
      assert.throws(() => fence.write(1n, insert), /inside a transaction/);
      assert.throws(() => fence.install(2n), /inside a transaction/);
      database.exec('COMMIT');
      assert.equal(count(), 1);
    });

    it('installs over foreign keys that name its table, and leaves the setting as it was', () => {
      const fence = createSqliteFence(database);
      fence.install(1n);
      database.exec(`PRAGMA foreign_keys = OFF;
        CREATE TABLE child (fence REFERENCES _holdfast_fence (fence));
        INSERT INTO child VALUES (1);
        PRAGMA foreign_keys = ON`);
      fence.install(2n);
      assert.equal(database.prepare('PRAGMA foreign_keys').get()!['foreign_keys'], 1);
      database.exec('PRAGMA foreign_keys = OFF');
      fence.install(3n);
      assert.equal(database.prepare('PRAGMA foreign_keys').get()!['foreign_keys'], 0);
    });

    it('takes over a table that was made before owners were known', () => {
      database.exec(
        'CREATE TABLE _holdfast_fence (id INTEGER PRIMARY KEY CHECK (id = 1), fence INTEGER NOT NULL)',
      );
      database.exec('INSERT INTO _holdfast_fence VALUES (1, 7)');
      const fence = createSqliteFence(database, { owner: 'one' });
      assert.throws(() => fence.install(7n), { code: 'HF_FENCED' });
      fence.install(8n);
      fence.install(8n);
    });

    it('keeps a reader that takes no lock from writing once it was overtaken', () => {
      const file = join(directory, 'two.sqlite');
      const [one, other] = [new DatabaseSync(file), new DatabaseSync(file)];
      try {
        one.exec('PRAGMA journal_mode = WAL; CREATE TABLE entry (id INTEGER PRIMARY KEY)');
        const [older, newer] = [createSqliteFence(one), createSqliteFence(other)];
        older.install(1n);
        let runs = 0;
        const work = () => {
          if (++runs === 1) newer.install(2n);
          one.exec('INSERT INTO entry DEFAULT VALUES');
        };
        assert.throws(() => older.write(1n, work, { lock: 'late' }), {
          code: 'HF_FENCED',
          details: { fence: '2' },
        });
        assert.equal(runs, 1);
      } finally {
        one.close();
        other.close();
      }
    });
  });
});
