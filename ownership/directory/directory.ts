/**
 * The resource directory's decisions, in memory: sessions, claims, and who gets a key. No I/O and no clock: every method
 * takes `nowMs`, fences and ids come from ports, and what is to be stored or told is collected for `takeOutput`. An
 * answer may be given only after that output was stored.
 *
 * What must hold:
 * - A session is live while `nowMs < expiresAtMs` and it was not ended. Each method first ends what has expired, so no
 *   decision counts on a session whose time is over. An ended session never comes back.
 * - The record of a key names one session, and the fence grows whenever the key goes to another host. A host that opens a new session in
 *   place of a lost one keeps its fences (`adopt`), but only where no other can have owned the key in between.
 * - `session.keys` is the number of records that name it.
 * - A directory that has forgotten (`collectUntilMs`) gives no key out until every session that it may have granted before is
 *   over by its host's own deadline; meanwhile hosts bring back what they hold (`resumeSession`, `adopt`).
 *
 * Answers get lost and questions are asked again. The second time: a claim, a pause, an alarm, an adopted key answers as before; a
 * release or transfer answers that it is not held (any more); an opening is refused the second time, and when a later one of its
 * process came first (`sessions.ts`). A session that was opened for a lost answer ends when its process opens the next with
 * `endEarlier`, and by its time otherwise.
 */
import type {
  Claim,
  ClaimOutcome,
  Fence,
  HeldKey,
  Holding,
  InstanceId,
  KeyRecord,
  OpenSession,
  ProcessId,
  ResourceKey,
  Session,
  SessionId,
} from '#core';
import { importFloor } from './import-floor.ts';
import { Keys, type KeyPorts } from './keys.ts';
import { OutputCollector, type DirectoryOutput, type KeyOf, type SessionRecord } from './records.ts';
import { Sessions } from './sessions.ts';

export interface DirectoryPorts extends KeyPorts {
  newSessionId(): SessionId;
}

export interface DirectoryOptions {
  /** Sessions found in storage, with their numbers of keys. None from before it forgot. */
  sessions?: SessionRecord[];
  /**
   * The store has forgotten: until when nothing new is given out. On its clock, one longest time to live after the last moment at which
   * the store before it can have granted anything. The same again when it is started once more meanwhile.
   */
  collectUntilMs?: number | null;
  /** About how many keys stay in memory; the others are loaded again when they are asked for. */
  recordsMax?: number;
}

export class Directory {
  readonly #output = new OutputCollector();
  readonly #sessions: Sessions;
  readonly #keys: Keys;
  readonly #collectUntilMs: number;

  constructor(ports: DirectoryPorts, options: DirectoryOptions = {}) {
    this.#sessions = new Sessions(this.#output, () => ports.newSessionId(), options.sessions ?? []);
    this.#keys = new Keys(ports, this.#sessions, this.#output, options.recordsMax);
    this.#collectUntilMs = options.collectUntilMs ?? -Infinity;
  }

  // Sessions ---------------------------------------------------------------------------------------------------------

  openSession(request: OpenSession, nowMs: number): { sessionId: SessionId; expiresInMs: number } {
    this.expire(nowMs);
    const { sessionId, ttlMs } = this.#sessions.open(request, nowMs);
    return { sessionId, expiresInMs: ttlMs };
  }

  renewSession(
    sessionId: SessionId,
    nowMs: number,
  ): { alive: boolean; expiresInMs: number; forgotten?: boolean } {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (!session)
      return { alive: false, expiresInMs: 0, ...(this.collects(nowMs) ? { forgotten: true } : {}) };
    this.#sessions.renew(session, nowMs);
    return { alive: true, expiresInMs: session.ttlMs };
  }

  resumeSession(
    request: OpenSession,
    held: HeldKey[],
    nowMs: number,
  ): { sessionId: SessionId; expiresInMs: number; refused: ResourceKey[] } {
    this.#keys.hear(held);
    const opened = this.openSession({ ...request, endEarlier: true }, nowMs);
    return { ...opened, refused: this.adopt(opened.sessionId, held, nowMs) };
  }

  adopt(sessionId: SessionId, held: HeldKey[], nowMs: number): ResourceKey[] {
    this.expire(nowMs);
    this.#keys.hear(held);
    const session = this.#sessions.get(sessionId);
    const collecting = this.collects(nowMs);
    return held
      .filter(one => session === null || !this.#keys.adopt(session, one, collecting))
      .map(({ key }) => key);
  }

  updateSession(
    sessionId: SessionId,
    change: { draining?: boolean; ready?: boolean },
    nowMs: number,
  ): boolean {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (session) this.#sessions.update(session, change);
    return session !== null;
  }

  closeSession(sessionId: SessionId, nowMs: number): void {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (session) this.#sessions.close(session);
  }

  endSessionsOf(processId: ProcessId, nowMs: number): number {
    this.expire(nowMs);
    return this.#sessions.died(processId);
  }

  sessions(pool: InstanceId | undefined, nowMs: number): Session[] {
    this.expire(nowMs);
    return this.#sessions.describe(pool);
  }

  /** The live session with this id. */
  session(sessionId: SessionId): SessionRecord | null {
    return this.#sessions.get(sessionId);
  }

  /** Ends what has expired. Returns when to look again, null while there is no session. */
  expire(nowMs: number): number | null {
    return this.#sessions.expire(nowMs);
  }

  /** Whether what was given out before is still being collected from the hosts. */
  collects(nowMs: number): boolean {
    return nowMs < this.#collectUntilMs;
  }

  // Keys -------------------------------------------------------------------------------------------------------------

  claim(pool: InstanceId, key: ResourceKey, nowMs: number): ClaimOutcome {
    this.expire(nowMs);
    return this.#keys.claim({ pool, key }, this.collects(nowMs));
  }

  raiseFence(held: KeyOf & { sessionId: SessionId }, above: Fence, nowMs: number): Claim | null {
    this.expire(nowMs);
    return this.#keys.raiseFence(held, above);
  }

  confirmOpened(held: Holding, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#keys.confirmOpened(held);
  }

  lookup(pool: InstanceId, key: ResourceKey, nowMs: number): Claim | null {
    this.expire(nowMs);
    return this.#keys.lookup({ pool, key });
  }

  release(held: Holding, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#keys.release(held);
  }

  transfer(
    held: Holding,
    to: SessionId | null,
    nowMs: number,
  ): { held: true; claim: Claim | null } | { held: false } {
    this.expire(nowMs);
    return this.#keys.transfer(held, to);
  }

  pauseKey(pool: InstanceId, key: ResourceKey, nowMs: number): Claim | null {
    this.expire(nowMs);
    return this.#keys.pause({ pool, key });
  }

  resumeKey(pool: InstanceId, key: ResourceKey, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#keys.resume({ pool, key });
  }

  isPaused(pool: InstanceId, key: ResourceKey): boolean {
    return this.#keys.isPaused({ pool, key });
  }

  setAlarm(held: Holding, atMs: number | null, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#keys.setAlarm(held, atMs);
  }

  settleAlarm(held: Holding, atMs: number, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#keys.settleAlarm(held, atMs);
  }

  /** @param epoch a fence above all that a directory can have given out by now, see `fenceEpoch` */
  importKeys(records: readonly KeyRecord[], epoch: Fence, nowMs: number): KeyOf[] {
    this.#keys.hearOf(importFloor(records, epoch));
    this.expire(nowMs);
    return records.filter(record => !this.#keys.import(record)).map(({ pool, key }) => ({ pool, key }));
  }

  // Output -----------------------------------------------------------------------------------------------------------

  /** What is to be stored and then told. It must be stored before the next call, which may load it again. */
  takeOutput(): DirectoryOutput {
    this.#keys.shrink();
    return this.#output.take();
  }

  get hasOutput(): boolean {
    return !this.#output.isEmpty;
  }
}
