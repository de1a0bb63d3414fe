import type { Coordination } from '#core';
import { leaseConformance } from '../leases/conformance.ts';
import { directoryConformance } from './directory-conformance.ts';
import { CoordinatorHarness } from './harness.ts';

async function startHarness(): Promise<{
  one: Coordination;
  two: Coordination;
  restart(): Promise<void>;
  stop(): Promise<void>;
}> {
  const harness = await CoordinatorHarness.create();
  await harness.start();
  return {
    one: await harness.connect(),
    two: await harness.connect(),
    restart: () => harness.restart(),
    stop: () => harness.stop(),
  };
}

describe('embedded coordination store, over its socket', () => {
  describe('directory and documents', () => directoryConformance(startHarness));
  describe('leases', () => {
    leaseConformance(async () => {
      const { one, two, restart, stop } = await startHarness();
      return { leases: one.leases, other: two.leases, restart, stop };
    });
  });
});
