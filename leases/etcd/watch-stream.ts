/** etcd's watch as the hint of `watch`: one stream for each watched name, opened again when it ends. Whatever it misses, polling finds. */
import type { System } from '#core';
import type { WatchHint } from '../watch.ts';
import type { Gateway } from './gateway.ts';

const pauseMs = { first: 200, max: 5_000 };

export function createWatchStream(ports: {
  gateway: Gateway;
  system: System;
  keyOf: (name: string) => Buffer;
}): WatchHint {
  const { gateway, system } = ports;

  return (name, look) => {
    const controller = new AbortController();
    const { signal } = controller;
    const body = { create_request: { key: ports.keyOf(name).toString('base64') } };

    async function follow(): Promise<void> {
      for (let failures = 0; !signal.aborted; failures++) {
        const stream = await gateway.stream('/v3/watch', body, signal);
        try {
          // What is in an answer does not matter, only that there is one: the first says that the watch stands.
          for await (const _ of stream ?? []) {
            failures = 0;
            look();
          }
        } catch {
          // It broke off, or was aborted.
        }
        const ms = Math.min(pauseMs.first * 2 ** failures, pauseMs.max);
        await system.timers.sleep(ms * (0.75 + system.random.fraction() / 2), signal);
      }
    }

    follow().catch(() => {
      // Aborted while it slept.
    });
    return () => controller.abort();
  };
}
