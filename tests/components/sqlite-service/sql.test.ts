import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { removeFolder, startService, temporaryFolder, type Owned, type Service } from './harness.ts';

describe('sqlite-service: SQL over HTTP', () => {
  let directory: string;
  let service: Service;
  let database: Owned;
  let fence = 0n;

  before(async () => {
    directory = await temporaryFolder();
    service = await startService(directory, { maxRows: 50, maxBytes: 100_000, processes: 1 });
  });
  beforeEach(async () => {
    fence += 1n;
    database = await service.open(`/db/test-${fence}`, fence);
  });
  afterEach(() => database.handler.close());
  after(async () => {
    await service.stop();
    await removeFolder(directory);
  });

  it('answers the documented shape', async () => {
    const { status, body } = await database.send({ query: 'SELECT 1 AS one' });
    assert.equal(status, 200);
    assert.deepEqual(body, { worker: 'host-1', database: `test-${fence}`, results: [{ one: 1 }] });
  });

  it('gives a new database a table customers that can be written and read', async () => {
    const inserted = await database.send({
      query: 'INSERT INTO customers (name, email) VALUES (?, ?)',
      parameters: ['Ada', 'ada@example.com'],
    });
    assert.deepEqual(inserted.body.results, []);
    assert.equal(inserted.body.changes, 1);
    assert.equal(inserted.body.lastInsertRowid, 1);
    const { body } = await database.send({ query: 'SELECT * FROM customers' });
    const [row] = body.results!;
    assert.deepEqual(Object.keys(row!), ['id', 'name', 'email', 'created_at']);
    assert.equal(new Date(String(row!.created_at)).toISOString(), row!.created_at);
  });

  it('keeps its files to itself', async () => {
    const folder = await stat(join(directory, 'data'));
    const file = await stat(join(directory, 'data', `db%2Ftest-${fence}.sqlite`));
    assert.equal(folder.mode & 0o777, 0o700);
    assert.equal(file.mode & 0o777, 0o600);
  });

  it('takes raw SQL, and what curl sends without being told a content type', async () => {
    for (const type of [
      'application/sql',
      'text/plain; charset=utf-8',
      'application/x-www-form-urlencoded',
    ]) {
      assert.deepEqual((await database.send('SELECT 2 AS n', type)).body.results, [{ n: 2 }], type);
    }
    const json = await database.send('{"query":"SELECT 3 AS n"}', 'application/x-www-form-urlencoded');
    assert.deepEqual(json.body.results, [{ n: 3 }]);
  });

  it('binds named parameters, with and without their prefix', async () => {
    const query = 'SELECT :a + $b AS sum';
    for (const parameters of [
      { a: 1, b: 2 },
      { ':a': 1, $b: 2 },
    ]) {
      assert.deepEqual((await database.send({ query, parameters })).body.results, [{ sum: 3 }]);
    }
  });

  it('runs several statements in order, in one transaction, and answers the rows of the last', async () => {
    const good = await database.sql(
      `CREATE TABLE t (a); INSERT INTO t VALUES (1), (2); -- a comment; with a semicolon
       /* another; */ ; INSERT INTO t VALUES (';'); SELECT count(*) AS n FROM t;`,
    );
    assert.deepEqual(good.body.results, [{ n: 3 }]);
    assert.equal(good.body.changes, 3);
    const bad = await database.sql('DELETE FROM t; SELEC 1');
    assert.equal(bad.status, 400);
    assert.deepEqual((await database.sql('SELECT count(*) AS n FROM t')).body.results, [{ n: 3 }]);
  });

  it('runs a batch as one transaction and answers each result', async () => {
    const { body } = await database.send({
      statements: [
        { query: 'INSERT INTO customers (name) VALUES (?)', parameters: ['A'] },
        { query: 'INSERT INTO customers (name) VALUES (:name) RETURNING id', parameters: { name: 'B' } },
        { query: 'SELECT count(*) AS n FROM customers' },
      ],
    });
    assert.deepEqual(body.results, [
      { results: [], changes: 1, lastInsertRowid: 1 },
      { results: [{ id: 2 }], changes: 1, lastInsertRowid: 2 },
      { results: [{ n: 2 }] },
    ]);
    const failed = await database.send({
      statements: [{ query: 'DELETE FROM customers' }, { query: 'SELECT * FROM nothing' }],
    });
    assert.equal(failed.status, 400);
    assert.deepEqual((await database.sql('SELECT count(*) AS n FROM customers')).body.results, [{ n: 2 }]);
  });

  it('carries every kind of value both ways', async () => {
    const base64 = Buffer.from([0, 255, 16]).toString('base64');
    const query = 'SELECT ? AS a, typeof(?1) AS t';
    const cases: [unknown, unknown, string][] = [
      [null, null, 'null'],
      [7, 7, 'integer'],
      [1.5, 1.5, 'real'],
      [true, 1, 'integer'],
      ['ä\u{1f600}', 'ä\u{1f600}', 'text'],
      [{ $base64: base64 }, { $base64: base64 }, 'blob'],
      [{ $integer: '9223372036854775807' }, '9223372036854775807', 'integer'],
      [{ $integer: '-5' }, -5, 'integer'],
    ];
    for (const [given, expected, type] of cases) {
      const { body } = await database.send({ query, parameters: [given] });
      assert.deepEqual(body.results, [{ a: expected, t: type }]);
    }
    const { body } = await database.sql('SELECT 9007199254740993 AS big, 9e999 AS up, -9e999 AS down');
    assert.deepEqual(body.results, [{ big: '9007199254740993', up: 'Infinity', down: '-Infinity' }]);
  });

  it('returns columns of any name', async () => {
    const { body } = await database.sql('SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS ""');
    assert.deepEqual(Object.entries(body.results![0]!), [
      ['__proto__', 1],
      ['constructor', 2],
      ['', 3],
    ]);
  });

  it('says with status 400 and SQLite’s own words what is wrong with the SQL', async () => {
    const { status, body } = await database.send({ query: 'SELECT nme FROM customers' });
    assert.equal(status, 400);
    assert.deepEqual(body, {
      statusCode: 400,
      error: 'Bad Request',
      code: 'HF_SQL_ERROR',
      message: 'no such column: nme',
      details: { sqliteCode: 1, sqlite: 'SQL logic error' },
    });
    await database.sql('CREATE TABLE u (a UNIQUE); INSERT INTO u VALUES (1)');
    assert.match((await database.sql('INSERT INTO u VALUES (1)')).body.message!, /UNIQUE constraint failed/);
  });

  it('refuses a request that is not one, naming the place', async () => {
    const cases: [unknown, string][] = [
      ['{"query": ', '$'],
      ['[]', '$'],
      ['null', '$'],
      [{}, '$.query'],
      [{ query: 1 }, '$.query'],
      [{ query: 'SELECT 1', params: [] }, '$.params'],
      [{ query: 'SELECT 1', parameters: 'x' }, '$.parameters'],
      [{ query: 'SELECT ?', parameters: [[1]] }, '$.parameters[0]'],
      [{ query: 'SELECT :a', parameters: { a: { $base64: '*' } } }, '$.parameters.a'],
      [{ query: 'SELECT ?', parameters: [{ $integer: '9223372036854775808' }] }, '$.parameters[0]'],
      [{ statements: [] }, '$.statements'],
      [{ statements: [{ query: 'SELECT 1' }, {}] }, '$.statements[1].query'],
      [{ query: 'SELECT ?; SELECT ?', parameters: [1] }, '$.query'],
    ];
    for (const [body, path] of cases) {
      const answer = await database.send(body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.body.code, 'HF_REQUEST_INVALID', JSON.stringify(answer.body));
      assert.equal((answer.body.details!.problems as { path: string }[])[0]!.path, path);
    }
  });

  it('refuses empty SQL, unknown names of parameters, too many of them, NUL, and text that is not UTF-8', async () => {
    for (const text of ['', ' ', ';;', '-- only a comment', '/* open']) {
      assert.equal((await database.sql(text)).body.code, 'HF_SQL_ERROR', JSON.stringify(text));
    }
    const unknown = await database.send({ query: 'SELECT :a', parameters: { b: 1 } });
    assert.match(unknown.body.message!, /Unknown named parameter/);
    assert.equal((await database.send({ query: 'SELECT ?', parameters: [1, 2] })).status, 400);
    assert.equal((await database.sql('SELECT 1; \0 DROP TABLE customers')).body.code, 'HF_REQUEST_INVALID');
    assert.equal((await database.send(new Uint8Array([0xff, 0xfe]))).body.code, 'HF_REQUEST_INVALID');
  });

  it('lets a comment follow the one statement that parameters are for', async () => {
    const { body } = await database.send({
      query: 'SELECT ? AS a; -- done\n /* really */ ;',
      parameters: [1],
    });
    assert.deepEqual(body.results, [{ a: 1 }]);
  });

  it('answers 415, 405, 413 and 404 where they belong', async () => {
    assert.equal((await database.send('<sql/>', 'application/xml')).status, 415);
    const put = await database.handler.fetch(new Request('http://localhost/db/x', { method: 'DELETE' }));
    assert.equal(put.status, 405);
    assert.equal(put.headers.get('allow'), 'GET, HEAD, POST');
    const large = await database.send({ query: 'SELECT ?', parameters: ['x'.repeat(100_000)] });
    assert.equal(large.status, 413);
    const below = await database.handler.fetch(new Request(`http://localhost/db/test-${fence}/more`));
    assert.equal(below.status, 404);
  });

  it('bounds rows, bytes and single values of an answer, and undoes what the request did', async () => {
    const numbers = 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 51)';
    const rows = await database.sql(`INSERT INTO customers (name) ${numbers} SELECT x FROM c RETURNING id`);
    assert.equal(rows.status, 400);
    assert.match(rows.body.message!, /more than 50 rows/);
    assert.deepEqual((await database.sql('SELECT count(*) AS n FROM customers')).body.results, [{ n: 0 }]);
    const bytes = await database.sql(`${numbers} SELECT hex(zeroblob(2000)) AS h FROM c LIMIT 40`);
    assert.match(bytes.body.message!, /more than 100000 bytes/);
    const value = await database.sql('SELECT zeroblob(1000000000)');
    assert.match(value.body.message!, /too big/);
  });

  it('describes a database on GET, without what is its own', async () => {
    const { body } = await database.get();
    assert.equal(body.fence, String(fence));
    assert.equal(body.key, `/db/test-${fence}`);
    assert.deepEqual(
      (body.tables as { name: string }[]).map(table => table.name),
      ['customers'],
    );
  });

  it('reads on GET with a query, and does not write', async () => {
    assert.deepEqual((await database.get('?query=SELECT+5+AS+n')).body.results, [{ n: 5 }]);
    for (const text of ['DELETE FROM customers', 'CREATE TABLE t (a)', 'PRAGMA user_version = 3']) {
      const { status, body } = await database.get(`?query=${encodeURIComponent(text)}`);
      assert.equal(status, 400);
      assert.match(body.message!, /GET only reads/);
    }
  });

  it('says of EXPLAIN what it is: no write', async () => {
    await database.sql("INSERT INTO customers (name) VALUES ('x')");
    const { body } = await database.sql('/* plan */ EXPLAIN DELETE FROM customers');
    assert.equal(body.changes, undefined);
    assert(body.results!.length > 0);
  });

  it('is not held up by comments before a write, however many', async () => {
    const { status, body } = await database.sql(
      `${'/* a * b **//***/-- c\n'.repeat(200)}INSERT INTO customers (name) VALUES ('x')`,
    );
    assert.equal(status, 200);
    assert.equal(body.changes, 1);
  });

  it('takes parameters of any name', async () => {
    const { body } = await database.send(
      '{"query": "SELECT :__proto__ AS a", "parameters": {"__proto__": 5}}',
    );
    assert.deepEqual(body.results, [{ a: 5 }]);
  });

  it('does full-text search and R-trees', async () => {
    const { body } = await database.sql(
      "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hold fast'), ('let go'); SELECT x FROM f WHERE f MATCH 'fast'",
    );
    assert.deepEqual(body.results, [{ x: 'hold fast' }]);
    assert.equal((await database.sql('CREATE VIRTUAL TABLE r USING rtree(id, a, b)')).status, 200);
  });

  describe('what it does not allow', () => {
    const denied = [
      'BEGIN',
      'COMMIT',
      'ROLLBACK',
      'END TRANSACTION',
      'SAVEPOINT a',
      'SELECT 1; COMMIT; DELETE FROM customers',
      "ATTACH ':memory:' AS other",
      'DETACH main',
      'VACUUM',
      "VACUUM INTO 'copy.sqlite'",
      'SELECT * FROM _holdfast_fence',
      'SELECT count(*) FROM main."_HOLDFAST_fence"',
      'UPDATE _holdfast_fence SET fence = 99',
      'DELETE FROM [_holdfast_fence]',
      'INSERT OR REPLACE INTO _holdfast_fence VALUES (1, 99)',
      'DROP TABLE _holdfast_fence',
      'ALTER TABLE _holdfast_fence RENAME TO gone',
      'ALTER TABLE _holdfast_fence ADD COLUMN x',
      'CREATE INDEX i ON _holdfast_fence (fence)',
      'CREATE TABLE _holdfast_other (a)',
      'CREATE TEMP TABLE _holdfast_fence (id, fence)',
      'CREATE TRIGGER t AFTER UPDATE ON _holdfast_fence BEGIN DELETE FROM customers; END',
      'CREATE TRIGGER t AFTER INSERT ON customers BEGIN DELETE FROM _holdfast_fence; END; INSERT INTO customers (name) VALUES (1)',
      'CREATE VIEW v AS SELECT * FROM _holdfast_fence; SELECT * FROM v',
      "CREATE VIRTUAL TABLE f USING fts5(fence, content='_holdfast_fence'); SELECT * FROM f",
      'CREATE VIRTUAL TABLE p USING sqlite_dbpage',
      'SELECT * FROM sqlite_dbpage',
      'CREATE TEMP TABLE t (a)',
      'PRAGMA writable_schema = 1',
      'PRAGMA journal_mode = DELETE',
      'PRAGMA synchronous = OFF',
      'PRAGMA foreign_keys = OFF',
      'PRAGMA wal_checkpoint',
      "SELECT * FROM pragma_wal_checkpoint('main')",
      "PRAGMA temp_store_directory = '/'",
      "SELECT load_extension('x')",
      "SELECT fts3_tokenizer('simple')",
      "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, '')",
      'DELETE FROM sqlite_schema',
    ];
    for (const text of denied) {
      it(text, async () => {
        await database.sql("INSERT INTO customers (name) VALUES ('kept')");
        const { status, body } = await database.sql(text);
        assert.equal(status, 400, JSON.stringify(body));
        assert.equal(body.code, 'HF_SQL_ERROR');
        const after = await database.sql('SELECT count(*) AS n FROM customers');
        assert.deepEqual(after.body.results, [{ n: 1 }]);
        assert.equal((await database.get()).body.fence, String(fence));
      });
    }

    it('a foreign key that would stand in the way of the next owner', async () => {
      await database.sql('CREATE TABLE evil (x REFERENCES _holdfast_fence (fence) ON UPDATE RESTRICT)');
      await database.sql('INSERT INTO evil VALUES (NULL)');
      await database.handler.close();
      database = await service.open(`/db/test-${fence}`, fence + 1_000n, { hadOwner: true });
      assert.equal((await database.get()).body.fence, String(fence + 1_000n));
    });
  });

  it('keeps inspection open', async () => {
    for (const text of [
      'PRAGMA table_info(customers)',
      "SELECT name FROM pragma_table_info('customers')",
      'SELECT name FROM sqlite_schema',
      'PRAGMA user_version = 4; PRAGMA user_version',
      'PRAGMA integrity_check',
      'ANALYZE',
      'REINDEX',
    ]) {
      const { status, body } = await database.sql(text);
      assert.equal(status, 200, `${text}: ${body.message}`);
    }
  });
});
