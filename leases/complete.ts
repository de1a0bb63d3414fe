/** What every adapter gets for nothing: `watch` and `hold`, made of its other operations. */
import type { LeaseService, System } from '#core';
import { createHold } from './hold.ts';
import type { LeaseStore } from './store.ts';
import { createWatch, type WatchHint } from './watch.ts';

/** What an adapter makes by itself. */
export type LeaseAdapter = Omit<LeaseStore, 'watch' | 'hold'>;

/** Completes an adapter. `close` ends its watches first, and is safe to call twice if the adapter's is. */
export function completeLeases(
  adapter: LeaseAdapter,
  options: { system: System; hint?: WatchHint | undefined; pollMs?: number | undefined },
): LeaseStore {
  const { system, hint, pollMs } = options;
  const watches = new Set<() => void>();
  const createdWatch = createWatch({ inspect: adapter.inspect, system, hint, pollMs });
  const watch: LeaseService['watch'] = (name, listener) => {
    const cancel = createdWatch(name, listener);
    const stop = () => {
      watches.delete(stop);
      cancel();
    };
    watches.add(stop);
    return stop;
  };
  return {
    ...adapter,
    watch,
    hold: createHold({ primitives: { ...adapter, watch }, system }),
    async close() {
      for (const stop of watches) stop();
      await adapter.close();
    },
  };
}
