import assert from 'node:assert/strict';
import type { Claim, Fence } from '#core';
import type { OwnershipGuard } from '#ownership';
import { key, pool } from '../vocabulary.ts';
import { GuardHarness, ttlMs } from './guard-harness.ts';

describe('hand-off', () => {
  let harness: GuardHarness;
  let source: OwnershipGuard;
  let told: Claim[];
  beforeEach(async () => {
    harness = new GuardHarness();
    told = [];
    source = await harness.start('h1', { onHandedOver: claim => told.push(claim) });
  });
  const notOwner = { code: 'HF_NOT_OWNER' };
  const target = (guard: OwnershipGuard) => guard.session!.sessionId;

  it('finishes, closes and gives the key to the session that was named, under the next fence', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    const slow = harness.slow(source, held);
    await harness.system.advance(0);
    const moving = source.handOff({ ...held, to: target(other) });
    await assert.rejects(harness.ask(source, held), notOwner);
    await harness.system.advance(50);
    assert.deepEqual(harness.closed, [], 'closed under a request');
    assert.equal((await harness.claim('a')).fence, held.fence, 'given away while open');
    slow.finish();
    assert.equal(await harness.settle(slow.answer), 'finished');
    const { moved, claim } = await harness.settle(moving);
    assert(moved && claim);
    assert(claim.fence > held.fence && claim.sessionId === target(other) && claim.hadOwner);
    assert.deepEqual([harness.closed, told], [[key('a')], [claim]]);
    assert.equal(await harness.ask(other, claim), 'hello');
    await assert.rejects(harness.ask(source, held), notOwner);
    assert.deepEqual([source.metrics.handoffs, source.metrics.overruns, source.ownedKeys], [1, 0, 0]);
  });

  it('opens the key at its new owner ahead of the first request', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    const { claim } = await harness.settle(source.handOff({ ...held, to: target(other) }));
    await harness.settle(other.open(claim!));
    assert.equal(harness.opened.length, 2);
    await harness.ask(other, claim!);
    assert.equal(harness.opened.length, 2);
  });

  it('joins those who ask for the same key, and says to whoever asks later that nothing moved', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    const slow = harness.slow(source, held);
    await harness.system.advance(0);
    const both = [1, 2].map(() => source.handOff({ ...held, to: target(other) }));
    await harness.system.advance(20);
    slow.finish();
    const [one, two] = await harness.settle(Promise.all(both));
    assert.deepEqual(one, two);
    assert.equal(one!.moved, true);
    assert.equal(harness.count('transfer'), 1);
    const again = await harness.settle(source.handOff({ ...held, to: null }));
    assert.deepEqual(again, { moved: false, claim: null });
    assert.equal(harness.count('transfer'), 1);
  });

  it('moves a key that was never opened here, and opens it for no late request', async () => {
    const held = await harness.claim('a');
    const other = await harness.start('h2');
    const { claim } = await harness.settle(source.handOff({ key: held.key, to: target(other) }));
    assert.equal(claim?.sessionId, target(other));
    await assert.rejects(harness.ask(source, held), notOwner);
    assert.deepEqual(harness.opened, []);
    const unknown = await harness.settle(source.handOff({ key: key('nobody has it'), to: null }));
    assert.deepEqual(unknown, { moved: false, claim: null });
  });

  it('still serves a key that comes back, or that it was asked to move under a fence that never was', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    const { claim } = await harness.settle(source.handOff({ ...held, to: target(other) }));
    await harness.ask(other, claim!);
    const back = await harness.settle(other.handOff({ ...claim!, to: target(source) }));
    assert.equal(await harness.ask(source, back.claim!), 'hello');
    const ahead = { key: key('b'), fence: 999n as Fence };
    assert.equal((await harness.settle(source.handOff({ ...ahead, to: null }))).moved, false);
    const own = await harness.claim('b');
    const owner = own.sessionId === target(source) ? source : other;
    assert.equal(await harness.ask(owner, own), 'hello');
  });

  it('breaks off what does not finish in time, and hands over what it then closed', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    const slow = harness.slow(source, held);
    await harness.system.advance(0);
    const late = new AbortController();
    const moving = source.handOff({ ...held, to: target(other) }, late.signal);
    await harness.system.advance(500);
    assert(slow.owned());
    late.abort();
    assert(!slow.owned());
    assert.equal(await harness.settle(slow.answer), 'broken off');
    const { claim } = await harness.settle(moving);
    assert.equal(claim?.sessionId, target(other));
    assert.deepEqual(harness.closed, [key('a')]);
  });

  it('says that nothing moved when the component does not close in time, and never gives away what is open', async () => {
    const closing = Promise.withResolvers<void>();
    const slowly = await harness.start('h2', {
      component: {
        openResource: async () => ({ fetch: () => new Response('x'), close: () => closing.promise }),
      },
    });
    const held = await harness.claim('a');
    const owner =
      held.sessionId === target(slowly)
        ? held
        : (await harness.settle(source.handOff({ ...held, to: target(slowly) }))).claim!;
    await harness.ask(slowly, owner);
    assert.deepEqual(await harness.settle(slowly.handOff({ ...owner, to: null }, AbortSignal.abort())), {
      moved: false,
      claim: null,
    });
    assert.equal((await harness.claim('a')).fence, owner.fence);
    closing.resolve();
    await harness.system.advance(10);
    assert.notEqual((await harness.claim('a')).sessionId, target(slowly));
  });

  it('finds out what became of a transfer whose answer got lost', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    harness.answersToLose.set('transfer', 1);
    const { moved, claim } = await harness.settle(source.handOff({ ...held, to: target(other) }));
    assert(moved);
    assert.equal(claim?.sessionId, target(other));
    assert.equal(harness.count('transfer'), 2);
  });

  it('goes on asking while the directory is away, until the session is over', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    harness.down = true;
    const moving = source.handOff({ ...held, to: target(other) });
    await harness.system.advance(1_000);
    harness.down = false;
    assert.equal((await harness.settle(moving)).claim?.sessionId, target(other));
    const last = await harness.ready(other, 'a');
    harness.down = true;
    const lost = other.handOff({ ...last, to: null });
    await harness.system.advance(ttlMs);
    assert.deepEqual(await harness.settle(lost), { moved: false, claim: null });
  });

  it('gives a key back to whoever asks next when nobody in particular is to get it', async () => {
    const held = await harness.ready(source, 'a');
    const other = await harness.start('h2');
    harness.answersToLose.set('release', 1);
    const outcome = await harness.settle(source.handOff({ key: held.key, to: 'nobody' }));
    assert.deepEqual(outcome, { moved: true, claim: null });
    assert.equal(await harness.settle(harness.directory.lookup(pool, held.key)), null);
    assert.deepEqual(told, []);
    assert.notEqual((await harness.claim('a')).fence, held.fence);
    assert.equal(other.ownedKeys, 0);
  });

  it('gives many away, the longest idle first, and no more than were asked for', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const held = new Map<string, Claim>();
    for (const name of names) held.set(name, await harness.ready(source, name));
    await harness.ask(source, held.get('a')!);
    const busy = harness.slow(source, held.get('b')!);
    await harness.system.advance(0);
    const other = await harness.start('h2');
    const moved = await harness.settle(source.handOffMany({ count: 3, to: target(other) }));
    assert.deepEqual(moved.map(one => one.key).sort(), ['c', 'd', 'e'].map(key));
    assert.equal(source.ownedKeys, 2);
    busy.finish();
    const rest = await harness.settle(source.handOffMany({ count: 9, to: target(other) }));
    assert.equal(rest.length, 2);
    assert.equal(told.length, 5);
  });

  it('hands what is in use to other hosts when it drains, and gives back in few calls what is not', async () => {
    const names = Array.from({ length: 300 }, (_, index) => `k${index}`);
    for (const name of names) await harness.ready(source, name);
    await harness.system.advance(11_000);
    const recent = await harness.ready(source, 'recent');
    const other = await harness.start('h2');
    await harness.settle(source.drain());
    assert.deepEqual(
      told.map(one => [one.key, one.sessionId]),
      [[recent.key, target(other)]],
    );
    assert.equal(harness.closed.length, 301);
    assert.equal(harness.count('transfer'), 1);
    const releases = harness.count('release') + harness.count('releaseMany');
    assert(releases < 30, `${releases} calls`);
    assert.equal(await harness.settle(harness.directory.lookup(pool, key('k0'))), null);
  });

  it('does not open what was given back when the directory did not hear of it at first', async () => {
    const held = await harness.ready(source, 'a');
    await harness.start('h2');
    harness.down = true;
    const moving = source.handOff({ ...held, to: 'nobody' });
    await harness.system.advance(400);
    await assert.rejects(harness.ask(source, held), notOwner);
    harness.down = false;
    assert.equal((await harness.settle(moving)).moved, true);
    assert.equal(harness.opened.length, 1);
  });
});
