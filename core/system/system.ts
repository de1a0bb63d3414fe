/**
 * The only door to clocks, timers, randomness and ids. Everything else gets a `System` injected, so that tests and the
 * simulator can drive time. Bare `Date.now`, `Math.random`, `setTimeout` elsewhere are lint errors.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

export interface System {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
}

export interface Clock {
  /** Milliseconds since an arbitrary point; never goes back; for deadlines inside one process. */
  monotonicMs(): number;
  /** Milliseconds since the machine booted; comparable between processes of one machine; runs on while it sleeps. */
  bootMs(): number;
  /** Milliseconds since 1970, UTC; for people to read, never for decisions. */
  wallMs(): number;
}

export interface Random {
  /** Uniform in [0, 1). */
  fraction(): number;
  /** Lower-case letters and digits, 5 bits each, from the operating system's generator. */
  id(length: number): string;
}

export interface Timers {
  /** Calls once after `ms`. Does not keep the process alive unless `keepAlive`. The result cancels it. */
  after(ms: number, callback: () => void, options?: { keepAlive?: boolean }): () => void;
  /** Calls every `ms` until cancelled. Does not keep the process alive. */
  every(ms: number, callback: () => void): () => void;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** ISO 8601 in UTC, for answers and records. */
export function isoTime(clock: Clock): string {
  return new Date(clock.wallMs()).toISOString();
}

const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';

/** The real thing. */
export function createSystem(): System {
  return {
    clock: { monotonicMs: () => performance.now(), bootMs, wallMs: () => Date.now() },
    random: {
      fraction: () => randomInt(2 ** 47) / 2 ** 47,
      id: length => Array.from(randomBytes(length), byte => alphabet[byte & 31]).join(''),
    },
    timers: {
      after(ms, callback, options) {
        const timer = setTimeout(callback, ms);
        if (!options?.keepAlive) timer.unref();
        return () => clearTimeout(timer);
      },
      every(ms, callback) {
        const timer = setInterval(callback, ms).unref();
        return () => clearInterval(timer);
      },
      sleep(ms, signal) {
        return new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason as Error);
          const onAbort = () => {
            clearTimeout(timer);
            reject(signal!.reason as Error);
          };
          const timer = setTimeout(() => {
            signal?.removeEventListener('abort', onAbort);
            resolve();
          }, ms);
          signal?.addEventListener('abort', onAbort, { once: true });
        });
      },
    },
  };
}

/** /proc/uptime counts suspended time, which `performance.now()` does not; elsewhere the runtime's own figure serves. */
function bootMs(): number {
  try {
    return Math.round(Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000);
  } catch {
    return Math.round(uptime() * 1000); // no /proc (macOS)
  }
}
