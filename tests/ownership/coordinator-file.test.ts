/** What the coordinator makes of the file that it finds: damaged, of another version, of another boot, or in use. */
import assert from 'node:assert/strict';
import { execFile as execFileWithCallback } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { LIMITS, type Claim, type Coordination, type OpenSession, type System } from '#core';
import { readBootId, REBOOT_MARGIN } from '#leases';
import { startCoordinator } from '#ownership';
import { until } from '../leases/conformance.ts';
import { CoordinatorHarness, system } from './harness.ts';
import { claim, host, key, pool } from './vocabulary.ts';

const execFile = promisify(execFileWithCallback);

describe("the coordinator's file", () => {
  let harness: CoordinatorHarness;
  let folder: string;
  beforeEach(async () => {
    harness = await CoordinatorHarness.create();
    folder = join(harness.stateRoot, 'coordination');
  });
  afterEach(() => harness.stop());

  const log = () => readFile(join(folder, 'coordinator.log'), 'utf8').catch(() => '');

  it('is set aside when it is corrupt, loudly, and fences go on far above', async function () {
    this.timeout(60_000);
    const short = host('h1', { ttlMs: 500 });
    await harness.start();
    const before = await harness.connect();
    await before.directory.openSession(short);
    const { fence } = await claim(before.directory, 'a');
    await before.close();
    await harness.forget();

    const after = await harness.connect();
    assert.deepEqual(await after.directory.sessions(), []);
    const raised = await firstClaim(after, host('h1'));
    assert(raised.fence > fence + 10n ** 17n, `${raised.fence}`);
    assert.match(await log(), /THE COORDINATION STORE WAS CORRUPT/);
    assert((await readdir(folder)).includes('coordination.sqlite.corrupt-1'));
    await after.close();
    await harness.kill('SIGTERM');

    // Also when it dies between setting the file aside and making a new one.
    await rm(join(folder, 'coordination.sqlite'));
    await rm(join(folder, 'longest-ttl.json'));
    await writeFile(join(folder, 'longest-ttl.json'), JSON.stringify({ bootId: readBootId(), ttlMs: 500 }));
    await harness.start();
    const third = await harness.connect();
    assert.deepEqual(await third.directory.claim(pool, key('a')), { owned: false, reason: 'recovering' });
    assert((await firstClaim(third, host('h1'))).fence > raised.fence);
  });

  /** Opens a session, and claims a key as soon as the store gives any out. */
  async function firstClaim({ directory }: Coordination, opening: OpenSession): Promise<Claim> {
    await directory.openSession(opening);
    await until(async () => (await directory.claim(pool, key('a'))).owned);
    return claim(directory, 'a');
  }

  it('is not trusted with times of an earlier boot: everything has ended, and fences jump', async () => {
    const { stateRoot } = harness;
    const first = await startCoordinator({ stateRoot, system, bootId: 'boot-1' });
    const before = await harness.connect();
    await before.directory.openSession(host('h1'));
    const { fence } = await claim(before.directory, 'a');
    await before.directory.confirmOpened(await claim(before.directory, 'a'));
    await before.leases.tryAcquire('l', 'h', 60_000);
    await before.close();
    await first.close();

    const second = await startCoordinator({ stateRoot, system, bootId: 'boot-2' });
    try {
      const after = await harness.connect();
      assert.deepEqual(await after.directory.sessions(), []);
      assert.equal(await after.leases.inspect('l'), null);
      await after.directory.openSession(host('h2'));
      const next = await claim(after.directory, 'a');
      assert(next.fence > fence + REBOOT_MARGIN && next.hadOwner);
      await after.close();
    } finally {
      await second.close();
    }
  });

  describe('when it is lost', () => {
    /** A system whose clocks can be put forward. */
    function createShiftedSystem(): { system: System; pass: (ms: number) => void } {
      let shiftMs = 0;
      const { clock } = system;
      const shifted = {
        wallMs: () => clock.wallMs() + shiftMs,
        bootMs: () => clock.bootMs() + shiftMs,
        monotonicMs: () => clock.monotonicMs() + shiftMs,
      };
      return { system: { ...system, clock: shifted }, pass: ms => (shiftMs += ms) };
    }
    /** What a claim says in a store that lost its file, so long after it started. */
    async function reasonsAfterLoss(
      given: {
        ttlMs?: number;
        resumed?: boolean;
        secondBoot?: string;
        side?: string | null;
        again?: boolean;
      },
      ...afterMs: number[]
    ): Promise<string[]> {
      const { stateRoot } = harness;
      const { system: shifted, pass } = createShiftedSystem();
      const first = await startCoordinator({ stateRoot, system: shifted, bootId: 'boot-1' });
      const before = await harness.connect();
      if (given.ttlMs !== undefined) {
        const opening = host('h1', { ttlMs: given.ttlMs });
        const { sessionId } = given.resumed
          ? await before.directory.resumeSession(opening, [])
          : await before.directory.openSession(opening);
        await before.directory.closeSession(sessionId); // also of sessions that are over: their hosts may not know
        await before.directory.openSession(host('h2', { ttlMs: 500 }));
      }
      await before.close();
      await first.close();
      const side = join(folder, 'longest-ttl.json');
      if (given.side === null) await rm(side);
      else if (given.side !== undefined) await writeFile(side, given.side);
      const damage = () => writeFile(join(folder, 'coordination.sqlite'), 'nonsense '.repeat(2_000));
      await damage();

      const bootId = given.secondBoot ?? 'boot-1';
      const reasons: string[] = [];
      let passedMs = 0;
      for (const ms of afterMs) {
        pass(ms - passedMs);
        passedMs = ms;
        // Started anew each time: what it has forgotten must not be forgotten itself.
        const second = await startCoordinator({ stateRoot, system: shifted, bootId });
        try {
          const after = await harness.connect();
          const outcome = await after.directory.claim(pool, key('a'));
          reasons.push(outcome.owned ? 'owned' : outcome.reason);
          await after.close();
        } finally {
          await second.close();
        }
        if (given.again) await damage();
      }
      return reasons;
    }

    it('gives nothing out for the longest time to live that any session had', async () => {
      for (const resumed of [false, true]) {
        const reasons = await reasonsAfterLoss({ ttlMs: 70_000, resumed }, 0, 60_000, 71_000);
        assert.deepEqual(reasons, ['recovering', 'recovering', 'no-live-host']);
        await rm(folder, { recursive: true });
      }
    });

    it('waits for as long again when it is lost once more meanwhile', async () => {
      for (const side of [undefined, null]) {
        const given = { ttlMs: 70_000, again: true, ...(side === null ? { side } : {}) };
        assert.deepEqual(await reasonsAfterLoss(given, 0, 60_000), ['recovering', 'recovering']);
        await rm(folder, { recursive: true });
      }
    });

    it('waits for nobody when no session was ever granted', async () => {
      assert.deepEqual(await reasonsAfterLoss({}, 0), ['no-live-host']);
    });

    it('waits for nobody when the machine was started anew since', async () => {
      assert.deepEqual(await reasonsAfterLoss({ ttlMs: 70_000, secondBoot: 'boot-2' }, 0), ['no-live-host']);
    });

    it('waits for the longest that there can be when it cannot know', async () => {
      const longestMs = LIMITS.sessionTtlMsMax;
      const expected = ['recovering', 'recovering', 'no-live-host'];
      for (const side of [null, '{"bootId":"boot-1","ttl', '{"bootId":"boot-1","ttlMs":"x"}', 'null']) {
        assert.deepEqual(
          await reasonsAfterLoss({ side }, 0, longestMs - 10_000, longestMs + 1_000),
          expected,
          `${side}`,
        );
        await rm(folder, { recursive: true });
      }
    });
  });

  it('is brought up from the version before, with everything in it', async () => {
    const now = system.clock.bootMs();
    await mkdir(folder, { recursive: true });
    const old = new DatabaseSync(join(folder, 'coordination.sqlite'));
    old.exec(`
        CREATE TABLE sessions (
          id TEXT PRIMARY KEY, pool TEXT NOT NULL, process TEXT NOT NULL, node TEXT NOT NULL, address TEXT NOT NULL,
          owns_resources INTEGER NOT NULL, capacity REAL NOT NULL, ttl_ms INTEGER NOT NULL, draining INTEGER NOT NULL,
          ready INTEGER NOT NULL, expires_at_ms REAL NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE claims (
          key TEXT NOT NULL, pool TEXT NOT NULL, fence INTEGER NOT NULL, session TEXT, opened INTEGER NOT NULL,
          PRIMARY KEY (key, pool)
        ) WITHOUT ROWID;
        CREATE INDEX claims_by_pool ON claims (pool, key);
        CREATE TABLE documents (name TEXT PRIMARY KEY, content TEXT NOT NULL, etag TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
        INSERT INTO meta VALUES ('boot', 'boot-1'), ('fence', 7);
        INSERT INTO sessions VALUES
          ('s1', '${pool}', 'p1', 'n', 'http://h1', 1, 1, 60000, 0, 1, ${now + 60_000}),
          ('s2', '${pool}', 'p2', 'n', 'http://h2', 1, 1, 60000, 0, 1, ${now + 60_000});
        INSERT INTO claims VALUES
          ('${key('a')}', '${pool}', 3, 's1', 1), ('${key('b')}', '${pool}', 4, 's1', 0),
          ('${key('c')}', '${pool}', 5, 'over', 1), ('${key('d')}', '${pool}', 6, NULL, 1);
        INSERT INTO documents VALUES ('d', 'content', 'e2');
        PRAGMA user_version = 1`);
    old.close();
    for (const round of [1, 2]) {
      const coordinator = await startCoordinator({
        stateRoot: harness.stateRoot,
        system,
        bootId: 'boot-1',
      });
      try {
        const { directory, documents, close } = await harness.connect();
        assert.deepEqual(
          (await directory.sessions()).map(({ sessionId, keys }) => [sessionId, keys]),
          [
            ['s1', 2],
            ['s2', round === 1 ? 0 : 1],
          ],
        );
        const a = await claim(directory, 'a');
        assert.deepEqual([a.sessionId, a.fence, a.hadOwner], ['s1', 3n, true]);
        assert.equal((await claim(directory, 'b')).hadOwner, false);
        const d = await claim(directory, 'd');
        assert.deepEqual([d.sessionId, d.fence, d.hadOwner], ['s2', 8n, true]);
        assert(await directory.setAlarm(a, 1));
        assert.equal((await directory.dueAlarms(pool, 1)).alarms.length, 1);
        assert.equal((await documents.get('d'))?.etag, 'e2');
        await close();
      } finally {
        await coordinator.close();
      }
    }
  });

  it('of a newer version is left alone', async () => {
    await mkdir(folder, { recursive: true });
    const newer = new DatabaseSync(join(folder, 'coordination.sqlite'));
    newer.exec('PRAGMA user_version = 99; CREATE TABLE t (x)');
    newer.close();
    await assert.rejects(startCoordinator({ stateRoot: harness.stateRoot, system }), {
      code: 'HF_STATE_UNUSABLE',
      message: /newer/,
    });
  });

  it('stays locked when a second coordinator is started in the same process', async () => {
    const { stateRoot } = harness;
    const first = await startCoordinator({ stateRoot, system });
    try {
      await assert.rejects(startCoordinator({ stateRoot, system }), { code: 'HF_ALREADY_RUNNING' });
      // What another process finds; another coordinator would be stopped by the socket at the latest, but not this.
      const open = `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec('BEGIN EXCLUSIVE')`;
      const other = execFile(process.execPath, ['-e', open, join(folder, 'coordination.sqlite')]);
      await assert.rejects(other, { stderr: /database is locked/ });
    } finally {
      await first.close();
    }
  });

  it('is let go of by close, which may be called twice', async () => {
    const { stateRoot } = harness;
    const first = await startCoordinator({ stateRoot, system });
    await assert.rejects(startCoordinator({ stateRoot, system }), { code: 'HF_ALREADY_RUNNING' });
    await Promise.all([first.close(), first.close()]);
    await first.closed;
    await (await startCoordinator({ stateRoot, system })).close();
  });
});
