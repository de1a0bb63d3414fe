import assert from 'node:assert/strict';
import { createFakeSystem, type ApiEvent, type FakeSystem } from '#core';
import { createRebalancer, type Rebalancer } from '../../node-manager/keys/rebalancer.ts';
import { createPool, type MadeUpPool } from './made-up-pool.ts';
import { silentLogger } from './silence.ts';

describe('the rebalancer', () => {
  let system: FakeSystem;
  let made: MadeUpPool;
  let rebalancer: Rebalancer;
  let leading: boolean;
  let events: ApiEvent[];

  function start(movesPerMinute = 1_000): void {
    rebalancer = createRebalancer({
      directory: made.coordination.directory,
      host: address => made.host(address),
      system,
      log: silentLogger,
      leads: () => leading,
      onEvent: event => events.push(event),
      threshold: 0.1,
      movesPerMinute,
    });
    rebalancer.start();
  }

  /** In small steps, so that what the hosts do between them has its turns. */
  async function advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      await system.advance(Math.min(250, left));
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  const names = (count: number) => Array.from({ length: count }, (_, index) => `/k/${index}`);

  beforeEach(async () => {
    system = createFakeSystem();
    made = createPool(system);
    leading = true;
    events = [];
    await made.join('one');
    await made.join('two');
  });
  afterEach(() => rebalancer.stop());

  it('gives a host that has joined its share once the pool is quiet, and then rests', async () => {
    await made.claim(...names(60));
    start();
    await advance(5_000);
    assert.deepEqual(made.asked, [], 'even already');
    await made.join('three');
    await advance(2_000);
    assert.deepEqual(made.asked, [], 'not before it is quiet');
    await advance(5_000);
    assert.deepEqual(await made.keys(), { one: 20, two: 20, three: 20 });
    const { length } = made.asked;
    await advance(60_000);
    assert.equal(made.asked.length, length);
    assert.deepEqual(
      events.map(({ type, planned, moved }) => ({ type, planned, moved })),
      [{ type: 'rebalance', planned: 20, moved: 20 }],
    );
  });

  it('keeps to its budget, minute by minute', async () => {
    await made.claim(...names(300));
    start(30);
    await made.join('three');
    await advance(10_000);
    assert((await made.keys())['three']! <= 35, 'a minute’s moves and what has grown since');
    await advance(240_000);
    const left = Object.values(await made.keys());
    assert(
      left.every(keys => Math.abs(keys - 100) <= 10),
      `within the threshold: ${left.join()}`,
    );
  });

  it('leaves a pool alone in which a host drains or is not ready', async () => {
    await made.claim(...names(60));
    start();
    const three = await made.join('three');
    await made.coordination.directory.updateSession(three, { ready: false });
    await advance(30_000);
    assert.deepEqual(made.asked, []);
    await made.coordination.directory.updateSession(three, { ready: true });
    await advance(30_000);
    assert.equal((await made.keys())['three'], 20);
  });

  it('does nothing while it does not lead, and nothing when it is turned off', async () => {
    await made.claim(...names(60));
    leading = false;
    start();
    await made.join('three');
    await advance(60_000);
    assert.deepEqual(made.asked, []);
    await rebalancer.stop();
    leading = true;
    start(0);
    await advance(60_000);
    assert.deepEqual(made.asked, []);
  });

  it('tries again when a host did not answer or the store was away', async () => {
    await made.claim(...names(60));
    start();
    made.unreachable = true;
    await made.join('three');
    await advance(10_000);
    made.unreachable = false;
    made.coordination.fail(true);
    await advance(20_000);
    made.coordination.fail(false);
    await advance(40_000);
    assert.equal((await made.keys())['three'], 20);
  });
});
