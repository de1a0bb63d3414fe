import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import type { ProcessState } from '#core';
import { isLive, step, type LifeEvent } from '../../../node-api/supervision/process-life.ts';
import { decideRestart } from '../../../node-api/supervision/restart-policy.ts';

const policy = { maxAttempts: 3, windowMs: 1_000, backoffMs: 100, backoffMaxMs: 250 };

describe('node API: restart policy', () => {
  it('starts again at once after one crash, waits twice as long after each further one in the window, up to the bound, then gives up', () => {
    let crashes: number[] = [];
    const waits: (number | string)[] = [];
    for (let crash = 0; crash < 4; crash++) {
      const decision = decideRestart({ policy, crashes, nowMs: 5_000 + crash, jitter: 0 });
      waits.push(decision.action === 'restart' ? decision.afterMs : decision.action);
      crashes = decision.crashes;
    }
    assert.deepEqual(waits, [0, 100, 200, 'give-up']);
  });

  it('forgets crashes that are older than the window, or from before the machine was started anew', () => {
    const decision = decideRestart({ policy, crashes: [1, 2, 3, 99_999], nowMs: 2_000, jitter: 0 });
    assert.deepEqual(decision, { action: 'restart', afterMs: 0, crashes: [2_000] });
  });

  it('never restarts with no attempts allowed', () => {
    const none = { ...policy, maxAttempts: 0 };
    assert.equal(decideRestart({ policy: none, crashes: [], nowMs: 1, jitter: 0 }).action, 'give-up');
  });

  it('restarts at most maxAttempts times in any window, and never waits longer than the bound', () => {
    const facts = fc.record({
      gaps: fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 60 }),
      maxAttempts: fc.integer({ min: 0, max: 6 }),
      jitter: fc.double({ min: 0, max: 0.999, noNaN: true }),
    });
    fc.assert(
      fc.property(facts, ({ gaps, maxAttempts, jitter }) => {
        let crashes: number[] = [];
        let nowMs = 0;
        const restarts: number[] = [];
        for (const gap of gaps) {
          nowMs += gap;
          const decision = decideRestart({ policy: { ...policy, maxAttempts }, crashes, nowMs, jitter });
          crashes = decision.crashes;
          if (decision.action === 'give-up') return;
          assert.ok(decision.afterMs <= policy.backoffMaxMs);
          assert.equal(
            decision.afterMs >= 80,
            crashes.length > 1,
            'only the first in a window waits for nothing',
          );
          restarts.push(nowMs);
          assert.ok(restarts.filter(at => nowMs - at < policy.windowMs).length <= maxAttempts);
        }
      }),
    );
  });
});

describe('node API: life of a process', () => {
  const states: ProcessState[] = ['Starting', 'Running', 'Stopping', 'BackingOff', 'CrashLoop', 'Exited'];
  const events: LifeEvent[] = ['ready', 'restarting', 'gave-up', 'retry', 'stop', 'ended'];

  it('takes every state and event to the state of the diagram, or nowhere', () => {
    const table = states.map(state => events.map(event => step(state, event)));
    assert.deepEqual(table, [
      ['Running', 'BackingOff', 'CrashLoop', null, 'Stopping', 'Exited'],
      [null, 'BackingOff', 'CrashLoop', null, 'Stopping', 'Exited'],
      [null, null, null, null, 'Stopping', 'Exited'],
      [null, null, null, 'Starting', 'Stopping', 'Exited'],
      [null, null, null, null, 'Stopping', 'Exited'],
      [null, null, null, null, null, null],
    ]);
  });

  it('is live where a process runs or will run by itself', () => {
    assert.deepEqual(states.filter(isLive), ['Starting', 'Running', 'Stopping', 'BackingOff']);
  });
});
