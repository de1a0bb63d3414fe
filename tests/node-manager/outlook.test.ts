/** A leader that sees few nodes leaves the lead to a manager that sees more. */
import assert from 'node:assert/strict';
import { createFakeSystem, type NodeReachability } from '#core';
import { createOutlook } from '#node-manager';
import { silentLogger } from './silence.ts';

const patienceMs = 5_000;
const other = { processId: 'manager-2', nodeName: 'b', address: 'http://127.0.0.1:1' };

describe('the outlook of a leader', () => {
  function setUp(seen: { mine: NodeReachability[]; others: NodeReachability[] | null; leads?: boolean }) {
    const system = createFakeSystem();
    const calls = { asked: 0, resigned: 0 };
    const outlook = createOutlook({
      system,
      log: silentLogger,
      leads: () => seen.leads !== false,
      states: () => seen.mine,
      others: () => [other],
      async ask() {
        calls.asked += 1;
        if (!seen.others) throw new Error('it does not answer');
        return seen.others;
      },
      async resign() {
        calls.resigned += 1;
      },
      patienceMs,
    });
    /** Considers every second for so long. */
    const pass = async (ms: number) => {
      for (let passedMs = 0; passedMs < ms; passedMs += 1_000) {
        await outlook.consider();
        await system.advance(1_000);
      }
    };
    return { calls, pass };
  }

  it('makes it resign when another one sees more nodes, not before it has been so for a while', async () => {
    const seen = {
      mine: ['ready', 'suspect', 'dead'] as NodeReachability[],
      others: ['suspect', 'ready', 'ready'] as NodeReachability[],
    };
    const { calls, pass } = setUp(seen);
    await pass(patienceMs);
    assert.deepEqual(calls, { asked: 0, resigned: 0 });
    await pass(1_000);
    assert.deepEqual(calls, { asked: 1, resigned: 1 });
  });

  it('keeps it when the others see no more, or do not answer', async () => {
    for (const others of [['ready', 'dead', 'dead'] as NodeReachability[], null]) {
      const { calls, pass } = setUp({ mine: ['ready', 'dead', 'dead'], others });
      await pass(3 * patienceMs);
      assert.ok(calls.asked >= 2);
      assert.equal(calls.resigned, 0);
    }
  });

  it('asks nobody while it sees half of the nodes, while they are not known yet, or while it does not lead', async () => {
    const others: NodeReachability[] = ['ready', 'ready', 'ready', 'ready'];
    for (const seen of [
      { mine: ['ready', 'ready', 'dead', 'dead'] as NodeReachability[], others },
      { mine: ['unknown', 'unknown', 'unknown', 'unknown'] as NodeReachability[], others },
      { mine: ['dead', 'dead', 'dead', 'dead'] as NodeReachability[], others, leads: false },
    ]) {
      const { calls, pass } = setUp(seen);
      await pass(3 * patienceMs);
      assert.deepEqual(calls, { asked: 0, resigned: 0 });
    }
  });

  it('begins to count anew when it has seen enough in between', async () => {
    const seen = {
      mine: ['dead', 'dead', 'ready'] as NodeReachability[],
      others: ['ready', 'ready', 'ready'] as NodeReachability[],
    };
    const { calls, pass } = setUp(seen);
    await pass(patienceMs - 1_000);
    seen.mine = ['ready', 'ready', 'ready'];
    await pass(1_000);
    seen.mine = ['dead', 'dead', 'ready'];
    await pass(patienceMs);
    assert.deepEqual(calls, { asked: 0, resigned: 0 });
  });
});
