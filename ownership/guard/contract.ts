/** What the guard offers to a host, and what it needs. */
import type {
  Claim,
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
  session: Omit<OpenSession, 'attempt' | 'endEarlier'>;
  component: Pick<Component, 'openResource'>;
  log: Logger;
  /** Requests served at once per key, in the order of their arrival; 0 means no bound. */
  concurrency: number;
  /** A key without requests for so long is closed and given back. Default 0: never. */
  idleMs?: number;
  /** How long the component may take to open a key, default 30 s. */
  openMs?: number;
  /**
   * At the session's deadline while the directory is silent. `stop` (the default): nothing is served any more. `serveFenced`: what is
   * open goes on being served until the directory answers, because the resource refuses every commit under an older fence; it also
   * keeps what nobody got in between when the directory says that the session has ended.
   */
  onAuthorityLoss?: 'stop' | 'serveFenced';
  /** Called after `session` or `ownedKeys` may have changed. Must not throw. */
  onChange?: () => void;
  /**
   * Called when a key (null: every key) is given up as soon as the requests for it that are in flight have ended: what lasts
   * should end now. Must not throw.
   */
  onGiveUp?: (key: ResourceKey | null) => void;
  /** Called with the new right to a key that was handed to another host and is in use. Must not throw. */
  onHandedOver?: (claim: Claim) => void;
  /**
   * Called whenever it changes in how many milliseconds the guard will stop by itself, and how long after that its session may end
   * elsewhere; null when it holds nothing that ends by time. Must not throw.
   */
  onDeadline?: (end: { inMs: number; marginMs: number } | null) => void;
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
  /** Keys handed to another host. */
  handoffs: number;
  /** Keys closed and given back because nobody asked for them. */
  passivations: number;
  /** Sessions that took the place of a lost one, with what it held. */
  resumes: number;
  /** Milliseconds for which keys were served past the deadline, because every commit is fenced. */
  serveFencedMs: number;
}

/** Which key, and the right to it that whoever asks knows of. */
export interface KeyOfSession {
  key: ResourceKey;
  sessionId: SessionId;
  fence: Fence;
}

export interface HandOffRequest {
  key: ResourceKey;
  fence?: Fence;
  /** The session that gets it; null: the directory chooses; `nobody`: it is given back. */
  to: SessionId | 'nobody' | null;
}

/** What became of a hand-off. `moved` false: the key was not held here (any more), or not in time; the claim is the new right. */
export interface HandOffOutcome {
  moved: boolean;
  claim: Claim | null;
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
    request: KeyOfSession,
    run: (handler: ResourceHandler, resource: Resource) => Promise<T>,
  ): Promise<T>;
  /** Opens a key ahead of its first request. Resolves when it is open. @throws HoldfastError as `serve` */
  open(request: KeyOfSession): Promise<void>;
  /**
   * Wakes the alarm of that time (epoch milliseconds): calls the handler's `alarm` as a request would, then settles it. Resolves
   * to whether the right to the key lasted until then. @throws HoldfastError as `serve`, or what the handler threw: then it is to come again
   */
  alarm(request: KeyOfSession & { atMs: number }): Promise<boolean>;
  /**
   * Hands a key to another session, or gives it back: stops accepting it, finishes what is in flight, closes and
   * transfers it. When `signal` aborts, the right ends at once and the requests in flight with it; then it goes on. Asked again
   * while it is under way, it joins. Without `fence` the one is meant under which the host holds the key, or the directory says so.
   * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when the directory had to be asked for the fence and did not answer
   */
  handOff(request: HandOffRequest, signal?: AbortSignal): Promise<HandOffOutcome>;
  /** Hands up to `count` keys over, the longest idle first, a few at a time. Resolves to those that moved. */
  handOffMany(
    request: { count: number; to: SessionId | null },
    signal?: AbortSignal,
  ): Promise<{ key: ResourceKey; claim: Claim | null }[]>;
  /** Tells the directory whether the host should get new keys; goes on trying in the background. */
  setReady(ready: boolean): void;
  /**
   * Hands everything over: no new keys; each key finishes, closes and goes to another host, or is given back when it was idle
   * for a while; then the session is closed. When `signal` aborts first, what is left is ended hard. Resolves when it is done;
   * afterwards every request gets HF_NOT_OWNER.
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
