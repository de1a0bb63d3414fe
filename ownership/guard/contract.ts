/** What the guard offers to a host, and what it needs. */
import type {
  Component,
  Fence,
  Logger,
  OpenSession,
  Resource,
  ResourceDirectory,
  ResourceHandler,
  ResourceKey,
  SessionId,
  System,
} from '#core';

export interface OwnershipGuardOptions {
  system: System;
  directory: ResourceDirectory;
  /** What the host says of itself whenever it opens a session; `ownsResources` follows from the component. */
  session: OpenSession;
  component: Pick<Component, 'openResource'>;
  log: Logger;
  /** Requests served at once per key, in the order of their arrival; 0 means no bound. */
  concurrency: number;
  /** Called after `session` or `ownedKeys` may have changed. Must not throw. */
  onChange?: () => void;
}

/** Counted since the start. */
export interface GuardMetrics {
  /** Answers that were finished after the right to give them had ended. */
  overruns: number;
  opens: number;
  openFailures: number;
  closeFailures: number;
  /** Requests answered HF_NOT_OWNER. */
  refusals: number;
  sessionsLost: number;
  renewalFailures: number;
}

export interface OwnershipGuard {
  /**
   * Opens the session, trying again for some seconds.
   * @throws HoldfastError what the last try said; the guard has ended then
   */
  start(): Promise<void>;
  /** The session under which the host may serve at this moment, null while there is none. */
  readonly session: { readonly sessionId: SessionId; readonly draining: boolean } | null;
  /**
   * Runs `run` while the host owns the key under that session; opens the resource first if need be. `run` must last until the
   * whole answer is out: it is what counts as in flight.
   * @throws HoldfastError HF_NOT_OWNER (nothing was run), HF_UNAVAILABLE (too many wait for the key),
   * HF_RESOURCE_OPEN_FAILED or what the component threw as a HoldfastError while opening, HF_COORDINATION_UNAVAILABLE; or what `run` threw
   */
  serve<T>(
    request: { key: ResourceKey; sessionId: SessionId; fence: Fence },
    run: (handler: ResourceHandler, resource: Resource) => Promise<T>,
  ): Promise<T>;
  /** Tells the directory whether the host should get new keys; goes on trying in the background. */
  setReady(ready: boolean): void;
  /**
   * Hands everything over: no new keys; each key finishes, closes and is given back; then the session is closed. When `signal`
   * aborts first, what is left is ended hard. Resolves when it is done; afterwards every request gets HF_NOT_OWNER.
   */
  drain(signal?: AbortSignal): Promise<void>;
  /** Resolves when nothing is open any more of a session that was lost. */
  letGo(): Promise<void>;
  /** Keys that are open or about to be. */
  readonly ownedKeys: number;
  /** Requests that run at this moment. */
  readonly inFlight: number;
  /** Ends hard: aborts every right, closes what is open without waiting for requests, gives nothing back. */
  abort(): void;
  readonly metrics: Readonly<GuardMetrics>;
}
