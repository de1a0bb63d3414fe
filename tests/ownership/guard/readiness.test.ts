import assert from 'node:assert/strict';
import { createFakeSystem, type FakeSystem } from '#core';
import { createReadiness, type Readiness } from '../../../ownership/guard/readiness.ts';

describe('readiness', () => {
  let system: FakeSystem;
  let told: boolean[];
  let deaf: boolean;
  let readiness: Readiness;
  beforeEach(() => {
    system = createFakeSystem();
    told = [];
    deaf = false;
    readiness = createReadiness({
      system,
      async tell(ready) {
        if (deaf) throw new Error('not heard');
        told.push(ready);
      },
    });
  });

  it('is told when it changes, and only then', async () => {
    readiness.set(true);
    await system.advance(1_000);
    assert.deepEqual(told, []);
    readiness.set(false);
    readiness.set(false);
    await system.advance(0);
    readiness.set(true);
    await system.advance(1_000);
    assert.deepEqual(told, [false, true]);
  });

  it('is told anew in each session, because a new one counts as ready', async () => {
    readiness.set(false);
    await system.advance(0);
    readiness.sessionOpened();
    await system.advance(0);
    assert.deepEqual(told, [false, false]);
  });

  it('is told again until it was heard, as it is by then', async () => {
    deaf = true;
    readiness.set(false);
    await system.advance(1_000);
    readiness.set(true);
    readiness.set(false);
    deaf = false;
    await system.advance(1_000);
    assert.deepEqual(told, [false]);
  });

  it('is not told any more after the end', async () => {
    deaf = true;
    readiness.set(false);
    await system.advance(10);
    readiness.stop();
    deaf = false;
    await system.advance(1_000);
    assert.deepEqual(told, []);
  });
});
