import type { Coordination, System } from '#core';
import { leaseConformance } from '../leases/conformance.ts';
import { directoryConformance } from './directory-conformance.ts';
import { CoordinatorHarness } from './harness.ts';

interface Started {
  harness: CoordinatorHarness;
  one: Coordination;
  two: Coordination;
  restart(): Promise<void>;
  forget(): Promise<void>;
  stop(): Promise<void>;
}

async function startHarness(): Promise<Started> {
  const harness = await CoordinatorHarness.create();
  await harness.start();
  return {
    harness,
    one: await harness.connect(),
    two: await harness.connect(),
    restart: () => harness.restart(),
    forget: () => harness.forget(),
    stop: () => harness.stop(),
  };
}

describe('embedded coordination store, over its socket', function () {
  this.timeout(30_000);
  describe('directory and documents', () => directoryConformance(startHarness));
  describe('leases', () => {
    leaseConformance(
      async () => {
        const { harness, one, two, restart, stop } = await startHarness();
        return {
          leases: one.leases,
          other: two.leases,
          open: async (system: System) => (await harness.connect({ system })).leases,
          server: {
            kill: () => harness.kill(),
            async start() {
              await harness.start();
            },
            pause: () => harness.signal('SIGSTOP'),
            resume: () => harness.signal('SIGCONT'),
          },
          restart,
          stop,
        };
      },
      { server: true },
    );
  });
});
