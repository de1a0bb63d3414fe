/** What every adapter's export and import of key records must be; part of `directoryConformance`. */
import assert from 'node:assert/strict';
import type { Fence, InstanceId, KeyRecord, OpenSession, ResourceDirectory, SessionId } from '#core';
import { fenceEpoch } from '#leases';
import { claim, host, key, pool, type DirectoryHarness } from './vocabulary.ts';

const past = 1_700_000_000_000;
const other = 'other' as InstanceId;

export function exportConformance(harness: () => DirectoryHarness): void {
  let one: ResourceDirectory;
  let two: ResourceDirectory;
  beforeEach(() => {
    one = harness().one.directory;
    two = harness().two.directory;
  });
  const open = async (name: string, more: Partial<OpenSession> = {}): Promise<SessionId> =>
    (await one.openSession(host(name, more))).sessionId;
  const record = (name: string, more: Partial<KeyRecord> = {}): KeyRecord => ({
    pool,
    key: key(name),
    fence: 7n as Fence,
    opened: true,
    paused: false,
    alarmAtMs: null,
    ...more,
  });
  const everything = async (limit = 1_000) => {
    const found = new Map<string, KeyRecord>();
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<ResourceDirectory['exportKeys']>> = await two.exportKeys(cursor, limit);
      for (const each of page.records) found.set(`${each.key} ${each.pool}`, each);
      ({ cursor } = page);
    } while (cursor !== null);
    return [...found.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  };

  describe('records of keys', () => {
    it('are told of every key: owned, given back, left behind, paused, with an alarm', async () => {
      assert.deepEqual(await everything(), []);
      const session = await open('h1');
      const owned = await claim(one, 'a');
      await one.confirmOpened(owned);
      await one.setAlarm(owned, past);
      const given = await claim(one, 'b');
      await one.release(given);
      await one.pauseKey(pool, key('c'));
      await open('h2', { pool: other });
      const elsewhere = await claim(one, 'a', other);
      const left = await claim(one, 'd');
      await one.setAlarm(left, past + 1);
      await one.pauseKey(pool, left.key);
      await one.closeSession(session);
      const unopened = { opened: false };
      assert.deepEqual(
        await everything(),
        [
          record('a', { pool, fence: owned.fence, alarmAtMs: past }),
          record('a', { pool: other, fence: elsewhere.fence, ...unopened }),
          record('b', { fence: given.fence, ...unopened }),
          record('c', { fence: 0n as Fence, paused: true, ...unopened }),
          record('d', { fence: left.fence, paused: true, alarmAtMs: past + 1, ...unopened }),
        ].toSorted((a, b) => (`${a.key} ${a.pool}` < `${b.key} ${b.pool}` ? -1 : 1)),
      );
    });

    it('come in pages, each of them all the same', async () => {
      const records = Array.from({ length: 700 }, (_, index) =>
        record(String(index).padStart(4, '0'), index % 3 === 0 ? { pool: other } : {}),
      );
      assert.deepEqual(await one.importKeys(records), []);
      const sorted = records.toSorted((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(await everything(50), sorted);
      assert.deepEqual(await everything(), sorted);
    });

    it('are taken over: pauses hold, alarms come due, and owners know that there was one', async () => {
      await one.importKeys([
        record('a'),
        record('b', { paused: true, alarmAtMs: past + 2 }),
        record('c', { alarmAtMs: past + 1, opened: false }),
        record('d', { fence: 0n as Fence, opened: false, paused: true }),
      ]);
      await harness().restart();
      assert.deepEqual((await two.dueAlarms(pool, 10)).alarms, [{ key: key('c'), atMs: past + 1 }]);
      await open('h1');
      assert.equal((await claim(two, 'a')).hadOwner, true);
      assert.equal((await claim(two, 'c')).hadOwner, false);
      for (const name of ['b', 'd']) {
        assert.deepEqual(await two.claim(pool, key(name)), { owned: false, reason: 'paused' });
      }
      assert.equal(await two.resumeKey(pool, key('b')), true);
      assert.deepEqual(
        (await one.dueAlarms(pool, 10)).alarms.map(({ atMs }) => atMs - past),
        [1, 2],
      );
    });

    it('lift every fence above what the other directory can have given out since', async () => {
      const beyond = (fenceEpoch(Date.now()) + 10n ** 15n) as Fence;
      const before = fenceEpoch(Date.now() - 1_000);
      await one.importKeys([record('a')]);
      await open('h1');
      const first = await claim(two, 'a');
      assert(first.fence > before, `${first.fence} after ${before}`);
      assert((await claim(two, 'new')).fence > first.fence, 'of keys that were not told, too');
      await one.importKeys([record('lifted', { fence: beyond })]);
      assert((await claim(two, 'other')).fence > beyond + 10n ** 9n);
      await harness().restart();
      assert((await claim(two, 'lifted')).fence > beyond + 10n ** 9n);
    });

    it('change nothing of a key that has a live owner, and say which', async () => {
      await open('h1');
      const owned = await claim(one, 'a');
      const told = record('a', { fence: (owned.fence + 5n) as Fence, paused: true, alarmAtMs: past });
      assert.deepEqual(await two.importKeys([told, record('b')]), [{ pool, key: key('a') }]);
      assert.deepEqual(await one.lookup(pool, key('a')), owned);
      assert.deepEqual(await two.claim(pool, key('a')), { owned: true, claim: owned });
      assert.equal(await one.isPaused(pool, key('a')), false);
      assert.equal(await one.confirmOpened(owned), true);
      assert.deepEqual(
        (await everything()).map(({ key: name, opened }) => [name, opened]),
        [
          [key('a'), true],
          [key('b'), true],
        ],
      );
    });

    it('may be told again: what was learnt here since holds', async () => {
      const told = [record('a', { paused: true, alarmAtMs: past }), record('b', { alarmAtMs: past })];
      for (let time = 0; time < 3; time++) assert.deepEqual(await one.importKeys(told), []);
      assert.deepEqual(await everything(), told);
      const session = await open('h1');
      const held = await claim(one, 'b');
      await one.setAlarm(held, null);
      await one.closeSession(session);
      await one.importKeys(told);
      const [, since] = await everything();
      assert.deepEqual(since, record('b', { fence: held.fence }));
    });

    it('are refused when they are none, and change nothing', async () => {
      const bad: Partial<KeyRecord>[] = [
        { fence: (2n ** 62n + 1n) as Fence },
        { fence: -1n as Fence },
        { alarmAtMs: Number.NaN },
        { key: key('x'.repeat(2_000)) },
        { pool: '' as InstanceId },
      ];
      for (const more of bad) {
        await assert.rejects(one.importKeys([record('a'), record('b', more)]), {
          code: 'HF_REQUEST_INVALID',
        });
      }
      await assert.rejects(one.importKeys(Array.from({ length: 1_001 }, () => record('a'))), {
        code: 'HF_REQUEST_INVALID',
      });
      await assert.rejects(one.exportKeys('nonsense', 10), { code: 'HF_REQUEST_INVALID' });
      for (const limit of [0, 1_001]) {
        await assert.rejects(one.exportKeys(null, limit), { code: 'HF_REQUEST_INVALID' });
      }
      assert.deepEqual(await everything(), []);
    });
  });
}
