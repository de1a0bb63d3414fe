/** What `list` must do on every adapter, against its real store. */
import assert from 'node:assert/strict';
import type { LeaseService } from '#core';
import { type LeaseHarness, type LeaseTraits, acquire, expired } from './harness.ts';

export function listConformance(current: () => LeaseHarness, traits: LeaseTraits): void {
  let leases: LeaseService;
  let other: LeaseService;
  beforeEach(() => ({ leases, other } = current()));

  const names = async (query?: Parameters<LeaseService['list']>[0]) =>
    (await leases.list(query)).leases.map(lease => lease.name);

  it('lists live leases in the byte order of their names', async () => {
    // The last two are in the other order as JavaScript compares strings.
    const expected = ['A', 'a', 'a b', 'a/1', 'a%', 'aa', 'b', 'ä', '\ufffd', '🦊'].sort((one, two) =>
      Buffer.compare(Buffer.from(one), Buffer.from(two)),
    );
    const fences = new Map<string, bigint>();
    for (const name of expected.toReversed()) fences.set(name, await acquire(other, name, `h-${name}`));
    const { leases: found, cursor } = await leases.list();
    assert.equal(cursor, null);
    assert.deepEqual(
      found.map(({ name, holder, fence }) => [name, holder, fence]),
      expected.map(name => [name, `h-${name}`, fences.get(name)]),
    );
    assert(found.every(lease => lease.expiresInMs > 0 && lease.expiresInMs <= 60_000));
  });

  it('leaves out what was released or has run out', async () => {
    await acquire(other, 'kept', 'one');
    await other.release('gone', 'one', await acquire(other, 'gone', 'one'));
    await acquire(other, 'lapsed', 'one', traits.shortMs);
    await expired(other, 'lapsed');
    assert.deepEqual(await names(), ['kept']);
  });

  it('lists only names with the prefix, taken literally', async () => {
    for (const name of ['a', 'a%b', 'a_', 'ab', 'a*', 'b', 'ä']) await acquire(other, name, 'one');
    assert.deepEqual(await names({ prefix: 'a' }), ['a', 'a%b', 'a*', 'a_', 'ab']);
    assert.deepEqual(await names({ prefix: 'a%' }), ['a%b']);
    assert.deepEqual(await names({ prefix: 'a_' }), ['a_']);
    assert.deepEqual(await names({ prefix: 'a*' }), ['a*']);
    assert.deepEqual(await names({ prefix: 'ab' }), ['ab']);
    assert.deepEqual(await names({ prefix: 'c' }), []);
  });

  it('goes on after the cursor, and has none on the last page', async () => {
    const expected = Array.from({ length: 7 }, (_, index) => `n/${index}`);
    for (const name of [...expected, 'm', 'o']) await acquire(other, name, 'one');
    const seen: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page: Awaited<ReturnType<LeaseService['list']>> = await leases.list({
        prefix: 'n/',
        limit: 3,
        ...(cursor === null ? {} : { cursor }),
      });
      seen.push(...page.leases.map(lease => lease.name));
      ({ cursor } = page);
      pages++;
    } while (cursor !== null);
    assert.deepEqual(seen, expected);
    assert.equal(pages, 3);
    assert.equal((await leases.list({ prefix: 'n/', limit: 7 })).cursor, null);
    assert.deepEqual(await names({ prefix: 'n/', cursor: 'n/4x' }), ['n/5', 'n/6']);
    assert.deepEqual(await names({ prefix: 'n/', cursor: 'a' }), expected);
    assert.deepEqual(await names({ prefix: 'n/', cursor: 'z' }), []);
  });

  it('does not lose its place when the lease at the cursor has ended', async () => {
    const fences = new Map<string, bigint>();
    for (const name of ['a', 'b', 'c']) fences.set(name, await acquire(other, name, 'one'));
    const first = await leases.list({ limit: 2 });
    assert.equal(first.cursor, 'b');
    await other.release('b', 'one', fences.get('b')!);
    assert.deepEqual(await names({ cursor: first.cursor }), ['c']);
  });

  it('refuses unusable queries, naming the first bad argument', async () => {
    const bad: [object, string][] = [
      [{ prefix: 'line\nbreak', limit: 0 }, 'prefix'],
      [{ prefix: 5 }, 'prefix'],
      [{ limit: 0, cursor: '' }, 'limit'],
      [{ limit: 1_001 }, 'limit'],
      [{ limit: 1.5 }, 'limit'],
      [{ cursor: '' }, 'cursor'],
    ];
    for (const [query, argument] of bad) {
      await assert.rejects(leases.list(query), { code: 'HF_LEASE_INVALID', details: { argument } });
    }
  });
}
