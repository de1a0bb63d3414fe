import assert from 'node:assert/strict';
import { createFakeSystem } from '#core';
import { warmUpWhenIdle } from '../../component-host/warm-up.ts';

describe('component-host warm-up', () => {
  it('waits for a moment without work, and ends when there is some', async () => {
    const system = createFakeSystem();
    const done: string[] = [];
    let idle = true;
    const steps = ['a', 'b', 'c'].map(name => () => {
      done.push(name);
      if (name === 'b') idle = false;
    });
    warmUpWhenIdle(system, () => idle, steps);
    await system.advance(100);
    assert.deepEqual(done, []);
    await system.advance(100);
    assert.deepEqual(done, ['a', 'b']);
  });

  it('does not begin when there is something to do at once', async () => {
    const system = createFakeSystem();
    warmUpWhenIdle(system, () => false, [() => assert.fail('it is not idle')]);
    await system.advance(1_000);
  });

  it('loads what there is to load', async () => {
    const system = createFakeSystem();
    const loaded = Promise.withResolvers<void>();
    let turns = 0;
    // Everything has been loaded when it looks for another step: seven looks for six steps.
    warmUpWhenIdle(system, () => {
      if (++turns === 7) loaded.resolve();
      return true;
    });
    const end = loaded.promise.then(() => true);
    while (
      !(await Promise.race([
        end,
        system.advance(200).then(() => new Promise<false>(done => setImmediate(done, false))),
      ]))
    );
  });
});
