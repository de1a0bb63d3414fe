/** What every adapter's alarms must be; part of `directoryConformance`. Times in the past are due, times far ahead are not. */
import assert from 'node:assert/strict';
import type { Fence, InstanceId, OpenSession, ProcessId, ResourceDirectory, SessionId } from '#core';
import { claim, host, key, pool, type DirectoryHarness } from './vocabulary.ts';

const past = 1_700_000_000_000;
const hourMs = 3_600_000;

export function alarmConformance(harness: () => DirectoryHarness): void {
  let one: ResourceDirectory;
  let two: ResourceDirectory;
  beforeEach(() => {
    one = harness().one.directory;
    two = harness().two.directory;
  });
  const open = async (name: string, more: Partial<OpenSession> = {}): Promise<SessionId> =>
    (await one.openSession(host(name, more))).sessionId;
  const due = async (limit = 100) =>
    (await two.dueAlarms(pool, limit)).alarms.map(({ key: name, atMs }) => [name, atMs - past] as const);

  describe('alarms', () => {
    it('come due earliest first, at most as many as asked for', async () => {
      await open('h1');
      for (const [name, ms] of [
        ['c', 3],
        ['a', 1],
        ['d', 4],
        ['b', 2],
      ] as const) {
        assert(await one.setAlarm(await claim(one, name), past + ms));
      }
      const expected = ['a', 'b', 'c', 'd'].map((name, index) => [key(name), index + 1] as const);
      assert.deepEqual(await due(), expected);
      assert.deepEqual(await due(2), expected.slice(0, 2));
    });

    it('tell how long it takes until the next that is not given out', async () => {
      await open('h1');
      assert.deepEqual(await one.dueAlarms(pool, 10), { alarms: [], nextInMs: null });
      const [a, b] = [await claim(one, 'a'), await claim(one, 'b')];
      await one.setAlarm(a, past);
      assert.equal((await one.dueAlarms(pool, 10)).nextInMs, null);
      await one.setAlarm(b, Date.now() + hourMs);
      const { alarms, nextInMs } = await one.dueAlarms(pool, 10);
      assert.deepEqual(alarms, [{ key: key('a'), atMs: past }]);
      assert(nextInMs !== null && nextInMs > hourMs / 2 && nextInMs <= hourMs + 60_000, `${nextInMs}`);
      await one.setAlarm(b, past + 1);
      assert.deepEqual(await one.dueAlarms(pool, 1), {
        alarms: [{ key: key('a'), atMs: past }],
        nextInMs: 0,
      });
    });

    it('are one for each key: a later one replaces it, null takes it away', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      await one.setAlarm(held, past + 5);
      await one.setAlarm(held, past + 9);
      assert.deepEqual(await due(), [[key('a'), 9]]);
      await one.setAlarm(held, Date.now() + hourMs);
      assert.deepEqual(await due(), []);
      await one.setAlarm(held, past + 2);
      assert.equal(await one.setAlarm(held, null), true);
      assert.equal(await one.setAlarm(held, null), true);
      assert.deepEqual(await two.dueAlarms(pool, 10), { alarms: [], nextInMs: null });
    });

    it('are kept apart by pool', async () => {
      const other = 'other' as InstanceId;
      await open('h1');
      await open('h2', { pool: other });
      await one.setAlarm(await claim(one, 'a'), past + 1);
      await one.setAlarm(await claim(one, 'a', other), past + 2);
      assert.deepEqual(await due(), [[key('a'), 1]]);
      assert.deepEqual((await two.dueAlarms(other, 10)).alarms, [{ key: key('a'), atMs: past + 2 }]);
    });

    it('are set and settled by the holder alone', async () => {
      const first = await open('h1');
      const held = await claim(one, 'a');
      await one.setAlarm(held, past);
      const wrong = [
        { ...held, sessionId: 'someone' as SessionId },
        { ...held, fence: (held.fence + 1n) as Fence },
      ];
      for (const holding of wrong) {
        assert.equal(await two.setAlarm(holding, past + 1), false);
        assert.equal(await two.setAlarm(holding, null), false);
        assert.equal(await two.settleAlarm(holding, past), false);
      }
      assert.deepEqual(await due(), [[key('a'), 0]]);
      await one.closeSession(first);
      assert.equal(await one.setAlarm(held, null), false);
      assert.equal(await one.settleAlarm(held, past), false);
      assert.deepEqual(await due(), [[key('a'), 0]]);
    });

    it('are settled only if no other was set meanwhile', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      await one.setAlarm(held, past);
      await one.setAlarm(held, past + 7);
      assert.equal(await one.settleAlarm(held, past), true);
      assert.deepEqual(await due(), [[key('a'), 7]]);
      assert.equal(await one.settleAlarm(held, past + 7), true);
      assert.equal(await one.settleAlarm(held, past + 7), true, 'asked again');
      assert.deepEqual(await due(), []);
    });

    it('outlive their owner: handed over, released, expired, dead, or the store restarted', async () => {
      await open('h1');
      const names = ['moved', 'released', 'left'];
      const claims = await Promise.all(names.map(name => claim(one, name)));
      for (const [index, held] of claims.entries()) await one.setAlarm(held, past + index);
      const expected = names.map((name, index) => [key(name), index] as const);
      const second = await open('h2');
      const moved = await one.transfer(claims[0]!, second);
      assert(moved.held && moved.claim);
      await one.release(claims[1]!);
      await one.endSessionsOf('node-1-h1' as ProcessId);
      assert.deepEqual(await due(), expected);
      await harness().restart();
      assert.deepEqual(await due(), expected);
      // The next owner settles what the one before had asked for.
      assert(await one.settleAlarm(moved.claim, past));
      for (const [index, name] of ['released', 'left'].entries()) {
        assert(await one.settleAlarm(await claim(one, name), past + index + 1));
      }
      assert.deepEqual(await due(), []);
    });

    it('wait while their key is paused, and crowd nobody out', async () => {
      await open('h1');
      const [a, b] = [await claim(one, 'a'), await claim(one, 'b')];
      await one.setAlarm(a, past);
      await one.setAlarm(b, past + 1);
      await one.pauseKey(pool, key('a'));
      assert.deepEqual(await due(1), [[key('b'), 1]]);
      assert.equal((await one.dueAlarms(pool, 1)).nextInMs, null);
      // Set while paused, it waits too.
      await one.setAlarm(a, past + 3);
      assert.deepEqual(await due(), [[key('b'), 1]]);
      await one.resumeKey(pool, key('a'));
      assert.deepEqual(await due(), [
        [key('b'), 1],
        [key('a'), 3],
      ]);
    });

    it('refuse times and limits that are none', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const bad: Promise<unknown>[] = [
        one.setAlarm(held, Number.NaN),
        one.setAlarm(held, -1),
        one.setAlarm(held, 8.64e15 + 1),
        one.dueAlarms(pool, 0),
        one.dueAlarms(pool, 1_001),
      ];
      for (const call of bad) await assert.rejects(call, { code: 'HF_REQUEST_INVALID' });
    });
  });
}
