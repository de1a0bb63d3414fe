/**
 * The directory's keys: whose each one is, under which fence. Knows nothing of time: it is asked when everything that has
 * expired was ended, and told whether the directory still collects what it has forgotten.
 */
import type { Claim, ClaimOutcome, Fence, HeldKey, Holding, InstanceId, KeyRecord, SessionId } from '#core';
import { chooseOwner } from '../placement.ts';
import { RecordCache } from './record-cache.ts';
import {
  describeClaim,
  type ClaimRecord,
  type KeyOf,
  type OutputCollector,
  type SessionRecord,
  type StoredClaim,
} from './records.ts';
import type { Sessions } from './sessions.ts';

export interface KeyPorts {
  /**
   * The next fence. Higher than all before it; in a store that has forgotten, higher than all that were ever given out, also those
   * that no host brings back.
   */
  nextFence(): Fence;
  /** The next fence, but above `above`. @throws HoldfastError HF_REQUEST_INVALID when no fence can be that high */
  fenceAbove(above: Fence): Fence;
  /** Every fence from now on is above this one. @throws HoldfastError HF_REQUEST_INVALID when no fence can be that high */
  fenceSeen(fence: Fence): void;
  /** The record of a key that is not in memory. */
  loadClaim(pool: InstanceId, key: KeyOf['key']): StoredClaim | null;
}

const recordsInMemoryMax = 200_000;

/** What a stored record names when its session is over: not live, and not given up. */
const sessionThatEnded: SessionRecord = {
  sessionId: 'ended' as SessionId,
  pool: '' as InstanceId,
  processId: '' as SessionRecord['processId'],
  nodeName: '' as SessionRecord['nodeName'],
  address: '',
  ownsResources: false,
  capacity: 1,
  ttlMs: 0,
  attempt: 0,
  draining: true,
  ready: false,
  expiresAtMs: -Infinity,
  keys: 0,
  live: false,
};

export class Keys {
  readonly #ports: KeyPorts;
  readonly #sessions: Sessions;
  readonly #output: OutputCollector;
  readonly #records: RecordCache;

  constructor(ports: KeyPorts, sessions: Sessions, output: OutputCollector, recordsMax = recordsInMemoryMax) {
    this.#ports = ports;
    this.#sessions = sessions;
    this.#output = output;
    this.#records = new RecordCache(recordsMax);
  }

  claim(of: KeyOf, collecting: boolean): ClaimOutcome {
    const record = this.#find(of);
    if (record?.paused) return { owned: false, reason: 'paused' };
    if (record?.session?.live) return { owned: true, claim: describeClaim(record, record.session) };
    if (collecting) return { owned: false, reason: 'recovering' };
    const owner = chooseOwner(this.#sessions.ofPool(of.pool));
    if (!owner) return { owned: false, reason: 'no-live-host' };
    const claimed = record ?? this.#create(of);
    this.#give(claimed, owner, this.#ports.nextFence());
    return { owned: true, claim: describeClaim(claimed, owner) };
  }

  lookup(of: KeyOf): Claim | null {
    const record = this.#find(of);
    return record?.session?.live ? describeClaim(record, record.session) : null;
  }

  raiseFence(held: KeyOf & { sessionId: SessionId }, above: Fence): Claim | null {
    const record = this.#find(held);
    if (!record?.session?.live || record.session.sessionId !== held.sessionId) return null;
    // Above its own too: the counter of a store that has forgotten may be told of a fence below.
    record.fence = this.#ports.fenceAbove(above > record.fence ? above : record.fence);
    this.#output.claim(record);
    return describeClaim(record, record.session);
  }

  confirmOpened(held: Holding): boolean {
    const record = this.#heldBy(held);
    if (record && !record.opened) {
      record.opened = true;
      this.#output.claim(record);
    }
    return record !== null;
  }

  release(held: Holding): boolean {
    const record = this.#heldBy(held);
    if (record) this.#giveUp(record);
    return record !== null;
  }

  transfer(held: Holding, to: SessionId | null): { held: true; claim: Claim | null } | { held: false } {
    const record = this.#heldBy(held);
    if (!record) return { held: false };
    const others = Array.from(this.#sessions.ofPool(held.pool)).filter(
      one => one.sessionId !== held.sessionId,
    );
    const named = others.filter(({ sessionId }) => sessionId === to);
    const target = record.paused ? null : (chooseOwner(named) ?? chooseOwner(others));
    if (!target) {
      this.#giveUp(record);
      return { held: true, claim: null };
    }
    this.#give(record, target, this.#ports.nextFence());
    const claim = describeClaim(record, target);
    this.#output.event({ type: 'moved', claim, from: held.sessionId });
    return { held: true, claim };
  }

  pause(of: KeyOf): Claim | null {
    const record = this.#find(of) ?? this.#create(of);
    this.#setPaused(record, true);
    return record.session?.live ? describeClaim(record, record.session) : null;
  }

  resume(of: KeyOf): boolean {
    const record = this.#find(of);
    if (!record?.paused) return false;
    this.#setPaused(record, false);
    return true;
  }

  isPaused(of: KeyOf): boolean {
    return this.#find(of)?.paused ?? false;
  }

  setAlarm(held: Holding, atMs: number | null): boolean {
    const record = this.#heldBy(held);
    if (record) this.#setAlarm(record, atMs);
    return record !== null;
  }

  settleAlarm(held: Holding, atMs: number): boolean {
    const record = this.#heldBy(held);
    // Another alarm may have been set meanwhile, by the very handler that this one woke.
    if (record?.alarmAtMs === atMs) this.#setAlarm(record, null);
    return record !== null;
  }

  /** Hears of fences that hosts hold, before anything is decided by them. @throws HoldfastError HF_REQUEST_INVALID */
  hear(held: HeldKey[]): void {
    for (const { fence } of held) this.hearOf(fence);
  }

  /** Every fence from now on is above this one. @throws HoldfastError HF_REQUEST_INVALID */
  hearOf(fence: Fence): void {
    this.#ports.fenceSeen(fence);
  }

  /** Takes over what another directory knew of a key. Returns whether it did: not while somebody owns the key here. */
  import({ pool, key, ...told }: KeyRecord): boolean {
    const record = this.#find({ pool, key }) ?? this.#create({ pool, key });
    if (record.session?.live) return false;
    const owned = record.fence > told.fence; // here, and later: what that owner left holds
    record.opened ||= told.opened;
    if (!owned) Object.assign(record, { fence: told.fence, session: null, alarmAtMs: told.alarmAtMs });
    this.#output.claim(record);
    if (!owned) this.#setPaused(record, told.paused);
    return true;
  }

  /**
   * Keeps a key where it is, under the fence that its host has, if nobody can have got it since. Returns whether it does. Asked
   * twice it answers twice the same; the key is found as the first answer left it.
   */
  adopt(session: SessionRecord, held: HeldKey, collecting: boolean): boolean {
    const of = { pool: session.pool, key: held.key };
    const record = this.#find(of);
    const current = record?.session ?? null;
    if (record && current === session && record.fence === held.fence) return true;
    // Nobody has got it since, and its owner has not given it up: then the host holds nothing, and the question is an old one that
    // arrives again. Granted, it would name an owner who knows that it is none.
    const unchanged = record?.fence === held.fence && current !== null && !current.live;
    // The store has forgotten whose it was. It gives nothing out meanwhile, so a record with a lower fence is older than the host's.
    const forgotten = collecting && (record === null || record.fence < held.fence);
    if (!unchanged && !forgotten) return false;
    const kept = record ?? this.#create(of);
    this.#give(kept, session, held.fence);
    kept.opened ||= held.opened;
    // Only its owner sets a key's alarm. But an owner that set none may not know of one that was set before its time.
    if (collecting) kept.alarmAtMs = held.alarmAtMs ?? kept.alarmAtMs;
    if (current?.live && current !== session) {
      this.#output.event({ type: 'moved', claim: describeClaim(kept, session), from: current.sessionId });
    }
    return true;
  }

  /** Call when storage has all that was put out, or will have it before anything else is asked. */
  shrink(): void {
    this.#records.shrink();
  }

  #find(of: KeyOf): ClaimRecord | null {
    const known = this.#records.get(of);
    if (known) return known;
    const stored = this.#ports.loadClaim(of.pool, of.key);
    if (!stored) return null;
    const { sessionId, fence, opened, paused, alarmAtMs } = stored;
    const session = sessionId === null ? null : (this.#sessions.get(sessionId) ?? sessionThatEnded);
    return this.#records.add({ pool: of.pool, key: of.key, fence, session, opened, paused, alarmAtMs });
  }

  #create({ pool, key }: KeyOf): ClaimRecord {
    const fence = 0n as Fence;
    return this.#records.add({
      pool,
      key,
      fence,
      session: null,
      opened: false,
      paused: false,
      alarmAtMs: null,
    });
  }

  #heldBy(held: Holding): (ClaimRecord & { session: SessionRecord }) | null {
    const record = this.#find(held);
    if (!record?.session?.live || record.session.sessionId !== held.sessionId) return null;
    return record.fence === held.fence ? (record as ClaimRecord & { session: SessionRecord }) : null;
  }

  #give(record: ClaimRecord, owner: SessionRecord, fence: Fence): void {
    this.#uncount(record.session);
    record.session = owner;
    record.fence = fence;
    owner.keys++;
    this.#output.session(owner);
    this.#output.claim(record);
  }

  #giveUp(record: ClaimRecord): void {
    const { pool, key, fence } = record;
    this.#uncount(record.session);
    record.session = null;
    this.#output.claim(record);
    this.#output.event({ type: 'released', pool, key, fence });
  }

  #uncount(owner: SessionRecord | null): void {
    if (!owner?.live) return;
    owner.keys--;
    this.#output.session(owner);
  }

  #setPaused(record: ClaimRecord, paused: boolean): void {
    if (record.paused === paused) return;
    record.paused = paused;
    const { pool, key } = record;
    this.#output.claim(record);
    this.#output.event({ type: paused ? 'paused' : 'resumed', pool, key });
  }

  #setAlarm(record: ClaimRecord, atMs: number | null): void {
    if (record.alarmAtMs === atMs) return;
    record.alarmAtMs = atMs;
    this.#output.claim(record);
  }
}
