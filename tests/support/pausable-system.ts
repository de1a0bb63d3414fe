/** A real `System` whose timers can be held back, as those of a process that is frozen: they are called when it goes on, all of them late. */
import { createSystem, type System } from '#core';

export interface PausableSystem extends System {
  pause(): void;
  resume(): void;
}

export function createPausableSystem(): PausableSystem {
  const { clock, random, timers } = createSystem();
  let paused = false;
  const held: (() => void)[] = [];
  const unlessPaused = (callback: () => void) => () => void (paused ? held.push(callback) : callback());
  return {
    clock,
    random,
    timers: {
      after: (ms, callback, options) => timers.after(ms, unlessPaused(callback), options),
      every: (ms, callback) => timers.every(ms, unlessPaused(callback)),
      sleep: async (ms, signal) => {
        await timers.sleep(ms, signal);
        if (paused) await new Promise<void>(resolve => held.push(resolve));
      },
    },
    pause: () => (paused = true),
    resume() {
      paused = false;
      for (const callback of held.splice(0)) callback();
    },
  };
}
