import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { isRunning, processesWithEnvironment, processFacts, type ProcessIdentity } from '#core';
import { databaseFileName } from '../../../components/sqlite-service/file-name.ts';
import { findLauncher } from '../../../components/sqlite-service/launcher.ts';
import { createSqlProcess } from '../../../components/sqlite-service/sql-process.ts';
import { componentFolder, removeFolder, startService, temporaryFolder, type Service } from './harness.ts';
import { skipLoudly } from '../../support/skip-loudly.ts';

const endless = 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c';
const mark = 'HOLDFAST_TEST_MARK';

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!holds()) {
    assert(performance.now() < endMs, `waited too long until ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

describe('sqlite-service: SQL processes', () => {
  let directory: string;
  let service: Service | undefined;

  beforeEach(async () => {
    directory = await temporaryFolder();
  });
  afterEach(async () => {
    await service?.stop();
    service = undefined;
    await removeFolder(directory);
  });

  it('ends SQL at its deadline, undoes it, and serves what waited behind it', async () => {
    service = await startService(directory, { deadlineMs: 300, processes: 1 });
    const slow = await service.open('/db/slow', 1n);
    const other = await service.open('/db/other', 1n);
    const late = slow.sql(`DELETE FROM customers; INSERT INTO customers (name) ${endless}`);
    const behind = other.sql('SELECT 1 AS n');
    const { status, body } = await late;
    assert.equal(status, 408);
    assert.equal(body.code, 'HF_SQL_DEADLINE');
    assert.deepEqual(body.details, { deadlineMs: 300 });
    assert.deepEqual((await behind).body.results, [{ n: 1 }]);
    assert.deepEqual((await slow.sql('SELECT count(*) AS n FROM customers')).body.results, [{ n: 0 }]);
  });

  it('keeps the event loop of the host free while SQL runs', async () => {
    service = await startService(directory, { deadlineMs: 500, processes: 1 });
    const database = await service.open('/db/busy', 1n);
    let turns = 0;
    let running = true;
    const answer = database.sql(endless).finally(() => (running = false));
    while (running) {
      turns++;
      await new Promise(resolve => setTimeout(resolve, 1));
    }
    assert.equal((await answer).status, 408);
    assert(turns > 20, `${turns} turns of the event loop`);
  });

  it('ends running SQL when the right to the key ends, and refuses what waits', async () => {
    service = await startService(directory, { deadlineMs: 60_000, processes: 1 });
    const database = await service.open('/db/lost', 1n);
    const running = database.sql(endless);
    const waiting = database.sql('SELECT 1');
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve)); // both are sent
    database.lose();
    await assert.rejects(waiting, { code: 'HF_NOT_OWNER' });
    assert.equal((await running).body.code, 'HF_OUTCOME_UNKNOWN');
    // What only reads is for the new owner to answer.
    const reader = await service.open('/db/lost', 2n, { hadOwner: true });
    const reading = reader.get(`?query=${encodeURIComponent(endless)}`);
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve)); // it is sent
    reader.lose();
    await assert.rejects(reading, { code: 'HF_NOT_OWNER' });
    const again = await service.open('/db/lost', 3n, { hadOwner: true });
    assert.equal((await again.sql('SELECT 1')).status, 200);
  });

  it('waits for the lock of an owner that was frozen, until its agent has ended it', async () => {
    service = await startService(directory, { processes: 1 });
    await service.open('/db/frozen', 1n);
    const path = join(directory, 'data', databaseFileName('/db/frozen'));
    await access(path);
    const frozen = new DatabaseSync(path);
    try {
      frozen.exec('BEGIN IMMEDIATE');
      const opening = service.open('/db/frozen', 2n, { hadOwner: true });
      await new Promise(resolve => setTimeout(resolve, 1_500)); // longer than SQLite waits by itself
      frozen.exec('ROLLBACK');
      assert.equal((await (await opening).sql('SELECT 1')).status, 200);
    } finally {
      frozen.close();
    }
  });

  it('bounds the queue', async () => {
    service = await startService(directory, { deadlineMs: 300, processes: 1, maxQueued: 2 });
    const database = await service.open('/db/full', 1n);
    const requests = [endless, 'SELECT 1', 'SELECT 2', 'SELECT 3'].map(text => database.sql(text));
    const refused = await requests[3]!;
    assert.equal(refused.status, 503);
    assert.equal(refused.body.code, 'HF_UNAVAILABLE');
    assert.deepEqual(
      (await Promise.all(requests)).map(answer => answer.status),
      [408, 200, 200, 503],
    );
  });

  it('answers for more databases than it keeps open', async () => {
    service = await startService(directory, { openDatabases: 3, processes: 2 });
    const databases = await Promise.all(
      Array.from({ length: 20 }, (_, index) => service!.open(`/db/many-${index}`, 1n)),
    );
    for (let round = 1; round <= 2; round++) {
      for (const [index, database] of databases.entries()) {
        const { body } = await database.send({
          query: 'INSERT INTO customers (name) VALUES (?) RETURNING id, name',
          parameters: [`n${index}`],
        });
        assert.deepEqual(body.results, [{ id: round, name: `n${index}` }]);
      }
    }
  });

  it('tells of an unknown outcome when a SQL process dies, and goes on with a fresh one', async () => {
    process.env[mark] = `dies-${process.pid}`;
    try {
      service = await startService(directory, { processes: 1, deadlineMs: 60_000 });
      const database = await service.open('/db/dies', 1n);
      await database.sql("INSERT INTO customers (name) VALUES ('kept')");
      const running = database.sql(endless);
      const [child] = processesWithEnvironment(mark, process.env[mark]).filter(
        found => found.pid !== process.pid,
      );
      process.kill(child!.pid, 'SIGKILL');
      assert.equal((await running).body.code, 'HF_OUTCOME_UNKNOWN');
      assert.deepEqual((await database.sql('SELECT name FROM customers')).body.results, [{ name: 'kept' }]);
    } finally {
      delete process.env[mark];
    }
  });

  it('reads again what a SQL process was reading when it died, once', async () => {
    process.env[mark] = `reads-${process.pid}`;
    const killOne = () => {
      const [child] = processesWithEnvironment(mark, process.env[mark]!).filter(
        ({ pid }) => pid !== process.pid,
      );
      process.kill(child!.pid, 'SIGKILL');
      return child!;
    };
    try {
      service = await startService(directory, { processes: 1, deadlineMs: 60_000 });
      const database = await service.open('/db/reads', 1n);
      await database.sql("INSERT INTO customers (name) VALUES ('kept')");
      const reading = database.get('?query=SELECT name FROM customers');
      const first = killOne();
      assert.deepEqual((await reading).body.results, [{ name: 'kept' }]);

      const ever = database.get(`?query=${encodeURIComponent(endless)}`);
      for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve)); // it is sent
      const second = killOne();
      assert.notEqual(second.pid, first.pid);
      // Starting takes far less time on the processor than that.
      await until('a fresh one runs it', () =>
        processesWithEnvironment(mark, process.env[mark]!).some(
          ({ pid }) => pid !== process.pid && pid !== second.pid && (processFacts(pid)?.cpuMs ?? 0) > 1_500,
        ),
      );
      killOne();
      assert.equal((await ever).body.code, 'HF_OUTCOME_UNKNOWN');
      assert.deepEqual((await database.sql('SELECT name FROM customers')).body.results, [{ name: 'kept' }]);
    } finally {
      delete process.env[mark];
    }
  });

  it('refuses a row that needs more memory than it may have, and lives on', async function () {
    const { execArgv } = await findLauncher(16 * 1024 * 1024);
    if (!execArgv.includes('prlimit')) skipLoudly(this, 'there is no prlimit (util-linux)');
    process.env[mark] = `large-${process.pid}`;
    const pids = () =>
      processesWithEnvironment(mark, process.env[mark]!).flatMap(({ pid }) =>
        pid === process.pid ? [] : [pid],
      );
    try {
      // Its deadline is another test's; filling so much memory takes a while on a busy machine.
      service = await startService(directory, { processes: 1, deadlineMs: 60_000 });
      const database = await service.open('/db/large', 1n);
      const before = pids();
      for (const value of ['zeroblob(16000000)', "printf('%.*c', 16000000, 'x')"]) {
        const columns = Array.from({ length: 300 }, (_, index) => `${value} AS c${index}`); // 5 GB
        const { status, body } = await database.sql(`SELECT ${columns.join(', ')}`);
        assert.equal(status, 503, JSON.stringify(body).slice(0, 500));
        assert.equal(body.code, 'HF_CAPACITY');
        assert.match(body.message!, /ask for less/);
      }
      const { body } = await database.sql("SELECT printf('%.*c', 16000000, 'x') AS text"); // as large as may be
      assert.equal(String(body.results![0]!.text).length, 16_000_000);
      assert.deepEqual(pids(), before);
    } finally {
      delete process.env[mark];
    }
  });

  it('fails its start, and says why, when SQL processes do not come up', async () => {
    const broken = join(directory, 'broken.mjs');
    await writeFile(broken, 'process.exit(3);');
    const sql = createSqlProcess({
      file: broken,
      launcher: await findLauncher(1024 * 1024),
      worker: { openDatabases: 1, maxRows: 1, maxBytes: 1024 },
      deadlineMs: 1_000,
      maxQueued: 1,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    });
    await assert.rejects(sql.start(), { code: 'HF_UNAVAILABLE', message: /did not start: exit 3/ });
    await sql.stop(new AbortController().signal);
    await assert.rejects(sql.start(), { code: 'HF_UNAVAILABLE' });
  });

  describe('when the host is killed', () => {
    let host: ChildProcess | undefined;
    let children: ProcessIdentity[] = [];

    afterEach(() => {
      host?.kill('SIGKILL');
      for (const child of children) {
        if (isRunning(child)) process.kill(child.pid, 'SIGKILL');
      }
      host = undefined;
      children = [];
    });

    /** Starts the fixture; `facts` yields what it tells. */
    async function startHost(options: { entry?: string; fence: number; settings?: object; path?: string }) {
      const entry = options.entry ?? join(componentFolder, 'main.ts');
      const id = `${process.pid}-${options.fence}-${Math.random()}`;
      const settings = JSON.stringify({ processes: 2, deadlineMs: 60_000, ...options.settings });
      host = spawn(
        process.execPath,
        [
          join(import.meta.dirname, '../../fixtures/components/sqlite-host.ts'),
          entry,
          directory,
          String(options.fence),
          settings,
        ],
        {
          stdio: ['pipe', 'pipe', 'inherit'],
          env: { ...process.env, [mark]: id, ...(options.path === undefined ? {} : { PATH: options.path }) },
        },
      );
      const facts: Record<string, unknown>[] = [];
      createInterface({ input: host.stdout! }).on('line', line => {
        facts.push(JSON.parse(line) as Record<string, unknown>);
      });
      await until('the host is ready', () => facts.length > 0);
      children = processesWithEnvironment(mark, id).filter(found => found.pid !== host!.pid);
      const say = (command: object): void => void host!.stdin!.write(`${JSON.stringify(command)}\n`);
      return { host, facts, say };
    }

    it('loses no acknowledged write and leaves no process', async () => {
      let next = 1;
      for (const fence of [1, 3, 5]) {
        const { host: running, facts, say } = await startHost({ fence });
        assert.equal(children.length, 2);
        say({ insert: next });
        await until('enough is written', () => facts.length > 40);
        const exited = once(running, 'exit');
        running.kill('SIGKILL');
        await exited;
        await until('its SQL processes are gone', () => !children.some(isRunning));
        const acknowledged = facts.filter(fact => fact.status === 200).map(fact => fact.number);
        service = await startService(directory, { processes: 1 });
        const database = await service.open('/db/killed', BigInt(fence + 1), { hadOwner: true });
        const { body } = await database.send({
          query: 'SELECT id FROM customers WHERE id >= ? ORDER BY id',
          parameters: [next],
        });
        const found = body.results!.map(row => row.id);
        assert.deepEqual(found.slice(0, acknowledged.length), acknowledged);
        assert(found.length <= acknowledged.length + 1, 'only the last one may have been under way');
        next += found.length;
        await service.stop();
        service = undefined;
      }
    });

    for (const [how, path] of [
      ['by the kernel', process.env.PATH],
      ['by a thread where the kernel cannot', '/nowhere'],
    ]) {
      it(`ends a SQL process in the middle of a statement: ${how}`, async () => {
        const { host: running, facts, say } = await startHost({ fence: 1, ...(path ? { path } : {}) });
        say({ run: endless });
        await until('the SQL runs', () => facts.some(fact => fact.running));
        const exited = once(running, 'exit');
        running.kill('SIGKILL');
        await exited;
        await until('its SQL processes are gone', () => !children.some(isRunning));
      });
    }

    it('works as one bundled file, too', async () => {
      const entry = join(directory, 'index.js');
      await build({
        entryPoints: [join(componentFolder, 'main.ts')],
        outfile: entry,
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'node24',
      });
      await writeFile(join(directory, 'package.json'), '{"type":"module"}');
      const { facts, say } = await startHost({ entry, fence: 1 });
      say({ run: 'SELECT 1 AS n' });
      await until('it has answered', () => facts.some(fact => fact.status));
      assert.equal(facts.at(-1)!.status, 200);
    });
  });
});
