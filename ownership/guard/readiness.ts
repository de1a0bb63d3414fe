/** Keeps the directory informed whether the host is ready: it is told after each change and in each new session, until it hears. */
import type { System } from '#core';

export interface Readiness {
  set(ready: boolean): void;
  /** A new session counts as ready until told otherwise. */
  sessionOpened(): void;
  stop(): void;
}

const retryMs = 200;

export function createReadiness(ports: {
  system: System;
  /** Rejects when the directory did not hear. */
  tell: (ready: boolean) => Promise<unknown>;
}): Readiness {
  let wanted = true;
  let known = true;
  let telling = false;
  let stopped = false;
  let cancelRetry = () => {};

  async function tell(): Promise<void> {
    if (telling) return;
    telling = true;
    cancelRetry();
    try {
      while (known !== wanted && !stopped) {
        const told = wanted;
        await ports.tell(told);
        known = told;
      }
    } catch {
      // Not heard. Nothing is lost by trying again later; the session's own calls report why.
      cancelRetry = ports.system.timers.after(retryMs, () => void tell());
    } finally {
      telling = false;
    }
  }

  return {
    set(ready) {
      wanted = ready;
      void tell();
    },
    sessionOpened() {
      known = true;
      void tell();
    },
    stop() {
      stopped = true;
      cancelRetry();
    },
  };
}
