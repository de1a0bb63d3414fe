/** The real `System`, in which longer timers never come: whoever polls at a pace sees nothing, whoever is pushed does. */
import { createSystem, type System } from '#core';

export function createHintOnlySystem(): System {
  const real = createSystem();
  return {
    ...real,
    timers: {
      ...real.timers,
      after: (ms, callback, options) => (ms > 500 ? () => {} : real.timers.after(ms, callback, options)),
    },
  };
}
