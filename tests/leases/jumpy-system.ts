/** The real `System`, whose clocks can be made to jump. */
import { createSystem, type System } from '#core';

export interface JumpySystem extends System {
  /** As after this process was frozen: all its clocks are further on, and no timer has run yet. */
  freeze(ms: number): void;
  /** As when somebody sets the machine's clock. */
  setWall(ms: number): void;
}

export function createJumpySystem(): JumpySystem {
  const real = createSystem();
  let frozenMs = 0;
  let wallMs = 0;
  return {
    ...real,
    clock: {
      monotonicMs: () => real.clock.monotonicMs() + frozenMs,
      bootMs: () => real.clock.bootMs() + frozenMs,
      wallMs: () => real.clock.wallMs() + frozenMs + wallMs,
    },
    freeze(ms) {
      frozenMs += ms;
    },
    setWall(ms) {
      wallMs += ms;
    },
  };
}
