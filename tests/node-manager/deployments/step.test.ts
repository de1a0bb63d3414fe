import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import fc from 'fast-check';
import { askForCanaries, rolloutsOf } from '#node-manager';
import {
  activeId,
  activeOf,
  changeLeader,
  command,
  madeUp,
  outcomes,
  planOnce,
  refused,
  settle,
  stepOnce,
  type MadeUpInstance,
} from './made-up-deployments.ts';

describe('the machine of deployments', function () {
  this.timeout(60_000);
  it('records the first revision of an instance, and a good update of it', () => {
    const world = madeUp(3);
    settle(world);
    world.wanted = '1.1.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 succeeded']);
    const [update, first] = world.state.ended;
    assert.equal(first!.from, null);
    assert.equal(update!.from?.packageVersion, '1.0.0');
    assert.deepEqual(update!.changes, ['app 1.0.0 → 1.1.0']);
    assert.equal(update!.by, 'somebody');
  });

  it('rolls a version back that does not start, and does not try it again by itself', () => {
    const world = madeUp(3);
    settle(world);
    world.bad.add('1.1.0');
    world.wanted = '1.1.0';
    settle(world);
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back']);
    assert.equal(world.restored.length, 1);
    assert.ok(world.copies.every(copy => copy.revisionId === '1.0.0' && copy.available));
    assert.match(world.state.ended[0]!.reason!, /copy 0 on node-1 did not start: HF_START_FAILED/);
  });

  it('tries the same version again when it is asked for again', () => {
    const world = madeUp(2);
    settle(world);
    world.bad.add('1.1.0');
    world.wanted = '1.1.0';
    settle(world);
    world.bad.clear();
    world.wanted = '1.1.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back', '1.1.0 succeeded']);
  });

  it('rolls back what does not get ready within its deadline', () => {
    const world = madeUp(2, { deadlineMs: 5_000 });
    settle(world);
    world.stuck.add('1.1.0');
    world.wanted = '1.1.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back']);
  });

  it('waits where nodes have no place, and blames nobody', () => {
    const world = madeUp(2, { deadlineMs: 5_000 });
    settle(world);
    world.wanted = '1.1.0';
    stepOnce(world);
    planOnce(world);
    world.full = true;
    world.copies[1] = { revisionId: '', available: false };
    world.copies[0] = { revisionId: '1.0.0', available: true };
    for (let second = 0; second < 20; second++, world.nowMs += 1_000) stepOnce(world);
    assert.match(activeOf(world)!.reason!, /it waits/);
    world.full = false;
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 succeeded']);
  });

  it('halts without autoRollback, and goes on or back as the operator says', () => {
    for (const then of ['resume', 'abort'] as const) {
      const world = madeUp(3, { autoRollback: false });
      settle(world);
      world.bad.add('1.1.0');
      world.wanted = '1.1.0';
      settle(world);
      assert.equal(activeOf(world)!.state, 'paused');
      assert.match(activeOf(world)!.reason!, /^halted: /);
      assert.equal(world.copies.filter(copy => copy.available).length, 3);
      world.bad.clear();
      command(world, then);
      settle(world);
      assert.deepEqual(outcomes(world).at(-1), then === 'resume' ? '1.1.0 succeeded' : '1.1.0 aborted');
    }
  });

  it('keeps to the canaries until they are promoted', () => {
    const world = madeUp(4, { strategy: 'canary', canary: { instances: 2, promoteAfterMs: null } });
    settle(world);
    world.wanted = '1.1.0';
    settle(world);
    assert.equal(activeOf(world)!.state, 'canary');
    assert.equal(world.copies.filter(copy => copy.revisionId === '1.1.0').length, 2);
    const id = activeId(world);
    assert.equal(command(world, 'promote'), 'rolling');
    assert.equal(command(world, 'promote'), 'rolling');
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 succeeded']);
    assert.equal(world.state.ended[0]!.canary!.promotedBy, 'an operator');
    assert.equal(command(world, 'promote', id), 'succeeded');
  });

  it('promotes canaries by itself once they were well for so long, and not before', () => {
    const canary = { instances: 1, promoteAfterMs: 30_000 };
    const world = madeUp(3, { strategy: 'canary', canary });
    settle(world);
    world.wanted = '1.1.0';
    for (let second = 0; second < 10; second++, world.nowMs += 1_000) {
      stepOnce(world);
      planOnce(world);
    }
    assert.equal(activeOf(world)!.state, 'canary');
    changeLeader(world); // begins to measure anew
    for (let second = 0; second < 25; second++, world.nowMs += 1_000) stepOnce(world);
    assert.equal(activeOf(world)!.state, 'canary');
    settle(world);
    assert.equal(outcomes(world).at(-1), '1.1.0 succeeded');
    assert.equal(world.state.ended[0]!.canary!.promotedBy, 'timer');
  });

  it('rolls a canary back that fails while it waits', () => {
    const world = madeUp(3, {
      strategy: 'canary',
      canary: { instances: 1, promoteAfterMs: null },
      deadlineMs: 5_000,
    });
    settle(world);
    world.wanted = '1.1.0';
    settle(world);
    world.copies.find(copy => copy.revisionId === '1.1.0')!.available = false;
    world.stuck.add('1.1.0');
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back']);
  });

  it('makes one deployment a canary when that was asked for with the upload', () => {
    const world = madeUp(3);
    settle(world);
    world.state = askForCanaries(world.state, ['api'], '1.1.0', { instances: 1, promoteAfterMs: null });
    world.wanted = '1.1.0';
    settle(world);
    assert.equal(activeOf(world)!.state, 'canary');
    command(world, 'promote');
    settle(world);
    world.wanted = '1.2.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 succeeded', '1.2.0 succeeded']);
  });

  it('pauses, resumes and aborts, each as often as one likes', () => {
    const world = madeUp(3);
    settle(world);
    world.wanted = '1.1.0';
    stepOnce(world);
    planOnce(world);
    assert.equal(command(world, 'pause'), 'paused');
    assert.equal(command(world, 'pause'), 'paused');
    settle(world);
    assert.equal(world.copies.filter(copy => copy.revisionId === '1.1.0').length, 1);
    assert.equal(command(world, 'resume'), 'rolling');
    assert.equal(command(world, 'resume'), 'rolling');
    const id = activeId(world);
    assert.equal(command(world, 'abort'), 'rolling-back');
    assert.equal(command(world, 'abort'), 'rolling-back');
    assert.equal(refused(world, 'pause'), 'HF_WRONG_STATE');
    settle(world);
    assert.equal(outcomes(world).at(-1), '1.1.0 aborted');
    assert.equal(command(world, 'abort', id), 'aborted');
    assert.equal(refused(world, 'resume', id), 'HF_WRONG_STATE');
    assert.equal(refused(world, 'resume', 'api-99'), 'HF_NOT_FOUND');
  });

  it('cannot go back from the first revision', () => {
    const world = madeUp(1);
    world.bad.add('1.0.0');
    stepOnce(world);
    assert.equal(refused(world, 'abort'), 'HF_ROLLBACK_IMPOSSIBLE');
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 failed']);
    world.bad.clear();
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 failed'], 'it is not begun again');
    assert.equal(world.state.instances['api']!.good?.revisionId, '1.0.0');
  });

  it('goes back to the last good revision when the settings change in the middle', () => {
    const world = madeUp(3);
    settle(world);
    world.wanted = '1.1.0';
    stepOnce(world);
    planOnce(world);
    world.wanted = '1.2.0';
    world.bad.add('1.2.0');
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 superseded', '1.2.0 rolled-back']);
    assert.ok(world.copies.every(copy => copy.revisionId === '1.0.0'));
  });

  it('goes back to a first revision that serves, though it is not complete', () => {
    const world = madeUp(3);
    stepOnce(world);
    planOnce(world);
    planOnce(world);
    world.copies[2]!.available = false;
    world.bad.add('1.1.0');
    world.wanted = '1.1.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 superseded', '1.1.0 rolled-back']);
    assert.ok(world.copies.every(copy => copy.revisionId === '1.0.0' && copy.available));
  });

  it('counts an edit that undoes the change as going back', () => {
    const world = madeUp(3);
    settle(world);
    world.wanted = '1.1.0';
    stepOnce(world);
    planOnce(world);
    world.wanted = '1.0.0';
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back']);
    assert.equal(world.restored.length, 0);
  });

  it('holds back a change that it has not recorded', () => {
    const world = madeUp(2);
    settle(world);
    const rollout = rolloutsOf(world.state, [{ instanceId: 'api', revisionId: '9.9.9' }])['api'];
    assert.equal(rollout?.limit, 0);
    assert.notEqual(rollout?.paused, null);
  });

  it('asks for the same restore again until it is done, whoever leads', () => {
    const world = madeUp(2);
    settle(world);
    world.wanted = '1.1.0';
    world.bad.add('1.1.0');
    stepOnce(world);
    planOnce(world);
    world.nowMs += 1_000;
    assert.equal(stepOnce(world, { restores: false }).restores.length, 1);
    changeLeader(world);
    assert.equal(stepOnce(world, { restores: false }).restores.length, 1);
    settle(world);
    assert.deepEqual(outcomes(world), ['1.0.0 succeeded', '1.1.0 rolled-back']);
  });

  it('comes to an end whatever happens in between, and rolls back once for each time that it was asked', () => {
    const versions = ['1.0.0', '1.1.0', '1.2.0'];
    const happening = fc.oneof(
      { weight: 8, arbitrary: fc.constant({ type: 'sync' as const }) },
      { weight: 2, arbitrary: fc.constant({ type: 'step' as const }) },
      fc.record({ type: fc.constant('want' as const), version: fc.constantFrom(...versions) }),
      fc.record({ type: fc.constant('lose' as const), slot: fc.nat(3) }),
      fc.record({
        type: fc.constant('command' as const),
        name: fc.constantFrom('promote', 'pause', 'resume', 'abort'),
      }),
      fc.constant({ type: 'leader' as const }),
      fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 90_000 }) }),
    );
    fc.assert(
      fc.property(
        fc.record({
          desired: fc.integer({ min: 0, max: 4 }),
          autoRollback: fc.boolean(),
          canary: fc.boolean(),
          promoteAfterMs: fc.constantFrom(null, 10_000),
          bad: fc.subarray(versions.slice(1)),
          stuck: fc.subarray(versions.slice(1)),
          happenings: fc.array(happening, { maxLength: 60 }),
        }),
        ({ desired, autoRollback, canary, promoteAfterMs, bad, stuck, happenings }) => {
          const world = madeUp(desired, {
            autoRollback,
            strategy: canary ? 'canary' : 'rolling',
            canary: { instances: 1, promoteAfterMs },
            deadlineMs: 20_000,
          });
          settle(world);
          world.bad = new Set(bad);
          world.stuck = new Set(stuck);
          let asked = 0;
          for (const event of happenings) {
            switch (event.type) {
              case 'sync':
                stepOnce(world);
                planOnce(world);
                break;
              case 'step':
                stepOnce(world);
                break;
              case 'want':
                if (world.wanted !== event.version) asked++;
                world.wanted = event.version;
                break;
              case 'lose':
                if (world.copies[event.slot]) world.copies[event.slot] = { revisionId: '', available: false };
                break;
              case 'command':
                tryCommand(world, event.name as 'pause');
                break;
              case 'leader':
                changeLeader(world);
                break;
              case 'wait':
                world.nowMs += event.ms;
            }
            world.nowMs += 1_000;
            assertOneStory(world);
          }
          settle(world);
          // Who was left to an operator's decision gets it.
          if (activeOf(world)?.state === 'paused') command(world, 'resume');
          settle(world);
          if (activeOf(world)?.state === 'canary') command(world, 'promote');
          settle(world);
          if (activeOf(world)?.state === 'paused') command(world, 'abort');
          settle(world);
          assert.equal(activeOf(world), null, JSON.stringify(activeOf(world)));
          assertOneStory(world);
          assert.ok(new Set(world.restored.map(item => item.deploymentId)).size <= asked);
          assert.ok(world.copies.every(copy => copy.available && copy.revisionId === world.wanted));
          assert.equal(world.state.instances['api']!.good?.revisionId, world.wanted);
        },
      ),
      { numRuns: 200 },
    );
  });
});

function tryCommand(world: MadeUpInstance, name: 'promote' | 'pause' | 'resume' | 'abort'): void {
  const before = world.state;
  try {
    command(world, name);
  } catch {
    assert.equal(world.state, before, 'what was refused has changed nothing');
  }
}

/** Each deployment begins once, ends at most once, and only one of the instance goes on at a time. */
function assertOneStory(world: MadeUpInstance): void {
  const ended = world.state.ended.map(record => record.id);
  assert.equal(new Set(ended).size, ended.length);
  const active = activeOf(world);
  if (active) {
    assert.ok(!ended.includes(active.id));
    assert.equal(active.endedAt, null);
  }
  assert.ok(world.state.ended.every(record => record.endedAt !== null));
  assert.equal(world.state.count, ended.length + (active ? 1 : 0));
}
