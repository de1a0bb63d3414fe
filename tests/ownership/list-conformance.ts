/** What every adapter's lists of owned keys must be; part of `directoryConformance`. */
import assert from 'node:assert/strict';
import type { Claim, InstanceId, OpenSession, ResourceDirectory, SessionId } from '#core';
import { claim, host, key, pool, type DirectoryHarness } from './vocabulary.ts';

export function listConformance(harness: () => DirectoryHarness): void {
  let one: ResourceDirectory;
  let two: ResourceDirectory;
  beforeEach(() => {
    one = harness().one.directory;
    two = harness().two.directory;
  });
  const open = async (name: string, more: Partial<OpenSession> = {}) =>
    (await one.openSession(host(name, more))).sessionId;

  describe('lists', () => {
    const pages = async (query: Parameters<ResourceDirectory['list']>[0]) => {
      const found: Claim[] = [];
      let cursor: string | null = null;
      do {
        const page = await two.list(cursor === null ? query : { ...query, cursor });
        found.push(...page.claims);
        cursor = page.cursor;
      } while (cursor !== null);
      return found;
    };

    it('give every owned key once, in byte order of (key, pool), page by page', async () => {
      await open('h1');
      await open('h2', { pool: 'aaa' as InstanceId });
      const names = ['b', 'a', 'ä', 'a/x', '\u{10000}', '\uffee', 'Z', 'a!'];
      for (const name of names) {
        await claim(one, name);
        await claim(one, name, 'aaa' as InstanceId);
      }
      const expected = names
        .flatMap(name => [pool, 'aaa' as InstanceId].map(inPool => [key(name), inPool] as const))
        .sort((a, b) => Buffer.compare(Buffer.from(a.join('\0')), Buffer.from(b.join('\0'))));
      for (const limit of [1, 3, 1_000]) {
        const found = await pages({ limit });
        assert.deepEqual(
          found.map(entry => [entry.key, entry.pool]),
          expected,
        );
      }
      assert.deepEqual(
        (await pages({ pool, limit: 2 })).map(entry => entry.key),
        expected.filter(([, inPool]) => inPool === pool).map(([name]) => name),
      );
      assert.deepEqual(
        (await pages({ pool, prefix: '/db/a', limit: 2 })).map(entry => entry.key),
        [key('a'), key('a!'), key('a/x')],
      );
      assert.deepEqual(
        (await pages({ prefix: '/db/a', limit: 1 })).map(entry => entry.pool),
        ['aaa', pool, 'aaa', pool, 'aaa', pool],
      );
      assert.deepEqual(
        (await pages({ key: key('a'), limit: 1 })).map(entry => entry.pool),
        ['aaa', pool],
      );
      assert.deepEqual((await pages({ key: key('a'), pool })).length, 1);
      assert.deepEqual(await pages({ prefix: '/nothing' }), []);
    });

    it('give the keys of one session, page by page', async () => {
      const first = await open('h1');
      const second = await open('h2');
      for (const name of ['c', 'a', 'f', 'b', 'e', 'd']) await claim(one, name);
      const all = await pages({});
      for (const sessionId of [first, second]) {
        const expected = all.filter(entry => entry.sessionId === sessionId);
        assert.equal(expected.length, 3);
        assert.deepEqual(await pages({ sessionId, limit: 2 }), expected);
        assert.deepEqual(await pages({ sessionId, pool }), expected);
        assert.deepEqual(
          await pages({ sessionId, prefix: '/db/a' }),
          expected.filter(({ key: k }) => k === key('a')),
        );
        assert.deepEqual(await pages({ sessionId, pool: 'other' as InstanceId }), []);
      }
      await one.closeSession(first);
      assert.deepEqual(await pages({ sessionId: first }), []);
      assert.deepEqual(await pages({ sessionId: 'no-such-session' as SessionId }), []);
    });

    it('leave out what nobody owns any more', async () => {
      const sessionId = await open('h1');
      await claim(one, 'a');
      const held = await claim(one, 'b');
      await one.release(held);
      assert.deepEqual(
        (await pages({})).map(entry => entry.key),
        [key('a')],
      );
      await one.closeSession(sessionId);
      assert.deepEqual(await pages({}), []);
    });
  });
}
