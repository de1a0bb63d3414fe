import assert from 'node:assert/strict';
import { createFakeSystem, createSystem, isoTime } from '#core';

describe('fake system', () => {
  it('moves time only by advance, and runs what falls due in order', async () => {
    const system = createFakeSystem();
    const seen: string[] = [];
    const note = (what: string) => () => void seen.push(`${what}@${system.clock.monotonicMs()}`);
    system.timers.after(20, note('b'));
    system.timers.after(10, note('a'));
    system.timers.every(15, note('every'));
    const cancel = system.timers.after(12, note('cancelled'));
    cancel();
    await system.advance(9);
    assert.deepEqual(seen, []);
    await system.advance(21);
    assert.deepEqual(seen, ['a@10', 'every@15', 'b@20', 'every@30']);
  });

  it('runs timers that timers make, and what awaits a sleep, at their own time', async () => {
    const system = createFakeSystem();
    const times: number[] = [];
    const work = (async () => {
      for (let round = 0; round < 3; round++) {
        await system.timers.sleep(5);
        times.push(system.clock.monotonicMs());
      }
    })();
    await system.advance(100);
    await work;
    assert.deepEqual(times, [5, 10, 15]);
  });

  it('rejects a sleep with the reason of its signal', async () => {
    for (const system of [createFakeSystem(), createSystem()]) {
      const control = new AbortController();
      const sleep = system.timers.sleep(60_000, control.signal);
      control.abort(new Error('enough'));
      await assert.rejects(sleep, /enough/);
      await assert.rejects(system.timers.sleep(1, control.signal), /enough/);
    }
  });

  it('repeats itself for the same seed, and only then', () => {
    const draw = (seed: number) => {
      const { random } = createFakeSystem(seed);
      return [random.fraction(), random.fraction(), random.id(12)];
    };
    assert.deepEqual(draw(7), draw(7));
    assert.notDeepEqual(draw(7), draw(8));
  });

  it('draws fractions evenly from [0, 1)', () => {
    const { random } = createFakeSystem(3);
    const buckets = Array.from({ length: 10 }, () => 0);
    for (let index = 0; index < 10_000; index++) {
      const fraction = random.fraction();
      assert(fraction >= 0 && fraction < 1);
      buckets[Math.floor(fraction * 10)]!++;
    }
    for (const count of buckets) assert(count > 850 && count < 1_150, String(buckets));
  });
});

describe('system', () => {
  it('tells a monotonic, a boot and a wall time', () => {
    const { clock } = createSystem();
    const [first, boot] = [clock.monotonicMs(), clock.bootMs()];
    assert(clock.monotonicMs() >= first);
    assert(boot > 0 && clock.bootMs() >= boot);
    assert.match(isoTime(clock), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.equal(isoTime({ ...clock, wallMs: () => 0 }), '1970-01-01T00:00:00.000Z');
  });

  it('makes ids of letters and digits that do not repeat', () => {
    const { random } = createSystem();
    const ids = new Set(Array.from({ length: 1_000 }, () => random.id(16)));
    assert.equal(ids.size, 1_000);
    for (const id of ids) assert.match(id, /^[a-z2-9]{16}$/);
  });

  it('cancels timers', async () => {
    const { timers } = createSystem();
    let ran = 0;
    const cancelAfter = timers.after(1, () => void ran++);
    const cancelEvery = timers.every(1, () => void ran++);
    cancelAfter();
    cancelEvery();
    await new Promise<void>(resolve => timers.after(20, resolve, { keepAlive: true }));
    assert.equal(ran, 0);
  });
});
