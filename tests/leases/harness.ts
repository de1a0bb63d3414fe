/** What the conformance suite needs of an adapter's test, and small helpers of all its parts. */
import assert from 'node:assert/strict';
import type { LeaseService, System } from '#core';

export interface LeaseHarness {
  /** A client of the store. */
  readonly leases: LeaseService;
  /** Another client, as another process would have. */
  readonly other: LeaseService;
  /** One more client, with these clocks; `stop` closes it. */
  open(system: System): Promise<LeaseService>;
  /** A client of the same store under another prefix (table, …); `stop` closes it. */
  openElsewhere?(): Promise<LeaseService>;
  /** The server of the store, if it has one. */
  readonly server?: StoreServer;
  /** Stops the store hard and starts it again, with what it had stored; all clients go on working. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface StoreServer {
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again, with what it had stored. */
  start(): Promise<void>;
  /** SIGSTOP to all of it. */
  pause(): void | Promise<void>;
  resume(): void;
}

export interface LeaseTraits {
  /** It has `server`: faults are tested. */
  server?: boolean;
  /** It has `openElsewhere`. */
  prefixes?: boolean;
  /** A short time to live, default 150 ms. */
  shortMs?: number;
  /** A time to live for `hold`, default 600 ms. */
  holdTtlMs?: number;
}

export const longMs = 60_000;

/** Polls until `condition` holds, at most 15 s. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!(await condition())) {
    assert(performance.now() < endMs, 'the condition did not come true in time');
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

/** Acquires a lease that must be free. */
export async function acquire(
  leases: LeaseService,
  name: string,
  holder: string,
  ttlMs = longMs,
): Promise<bigint> {
  const grant = await leases.tryAcquire(name, holder, ttlMs);
  assert(grant.acquired, `${name} should have been free`);
  assert.equal(grant.holder, holder);
  return grant.fence;
}

export const expired = (leases: LeaseService, name: string) =>
  until(async () => (await leases.inspect(name)) === null);
