/**
 * The directory under random histories of hosts that keep to the protocol: they stop believing in a key at their own deadline, when they
 * gave it up, or when the store says so, and bring back what they believe in when it has forgotten. The store restarts and forgets
 * at any moment, and keeps so few records in memory that it has to load them again.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Claim, Fence, NodeName, ProcessId, SessionId } from '#core';
import { Directory } from '../../ownership/directory/directory.ts';
import { ClaimStorage } from '../support/claim-storage.ts';
import { key, pool } from './vocabulary.ts';

const names = ['a', 'b', 'c', 'd'];
const ttlMsMax = 60;
const someKey = fc.constantFrom(...names);
const process = fc.nat(4);
const pick = fc.nat(20);
const steps = {
  open: [3, fc.record({ process, ttlMs: fc.integer({ min: 15, max: ttlMsMax }) })],
  claim: [10, fc.record({ key: someKey, peek: fc.boolean() })],
  release: [3, fc.record({ pick, stale: fc.boolean() })],
  transfer: [4, fc.record({ pick, to: fc.nat(6) })],
  confirm: [2, fc.record({ pick })],
  raise: [2, fc.record({ pick, above: fc.nat(100) })],
  renew: [12, fc.record({ process })],
  drain: [1, fc.record({ process, draining: fc.boolean() })],
  pause: [1, fc.record({ key: someKey })],
  resume: [2, fc.record({ key: someKey })],
  alarm: [3, fc.record({ pick, atMs: fc.option(fc.nat(3)) })],
  settle: [3, fc.record({ pick, atMs: fc.nat(3) })],
  comeBack: [6, fc.record({ process, ttlMs: fc.integer({ min: 15, max: ttlMsMax }), twice: fc.boolean() })],
  repeat: [2, fc.record({ process, pick })],
  close: [1, fc.record({ process })],
  die: [1, fc.record({ process })],
  restart: [1, fc.constant({})],
  forget: [2, fc.constant({})],
} as const;
type Steps = typeof steps;
type Step = { [Name in keyof Steps]: { type: Name } & StepFacts<Steps[Name][1]> }[keyof Steps];
type StepFacts<A> = A extends fc.Arbitrary<infer Facts> ? Facts : never;
const step = fc.oneof(
  ...Object.entries(steps).map(([type, [weight, facts]]) => ({
    weight,
    arbitrary: (facts as fc.Arbitrary<object>).map(given => ({ type, ...given }) as Step),
  })),
);
const history = fc.array(fc.record({ afterMs: fc.nat(6), step }), {
  minLength: 20,
  maxLength: 90,
  size: 'max',
});

interface Belief {
  fence: Fence;
  opened: boolean;
  alarmAtMs: number | null;
}

interface Host {
  sessionId: SessionId;
  deadlineMs: number;
  /** The keys it would answer for now. */
  keys: Map<string, Belief>;
}

class World {
  nowMs = 0;
  readonly seen = { adopted: 0, forgotten: 0, moved: 0, reloaded: 0 };
  #counter = 0n;
  #ids = 0;
  #attempts = 0;
  #collectUntilMs: number | null = null;
  readonly #storage = new ClaimStorage();
  #directory: Directory;
  readonly #hosts = new Map<ProcessId, Host>();
  readonly #dead = new Set<ProcessId>();
  /** Everything that was ever given out. */
  readonly #granted: Claim[] = [];
  readonly #highest = new Map<string, bigint>();
  /** The last right to each key that nobody gave up, as the present store knows it. */
  readonly #record = new Map<string, { fence: Fence }>();
  readonly #paused = new Set<string>();
  readonly #alarms = new Map<string, number>();

  constructor() {
    this.#directory = this.#start();
  }

  #start(): Directory {
    return new Directory(
      {
        nextFence: () => ++this.#counter as Fence,
        fenceAbove: above => (this.#counter = (above > this.#counter ? above : this.#counter) + 1n) as Fence,
        fenceSeen: fence => void (this.#counter = fence > this.#counter ? fence : this.#counter),
        newSessionId: () => `s${++this.#ids}` as SessionId,
        loadClaim: (of, name) => {
          const found = this.#storage.load(of, name);
          if (found) this.seen.reloaded++;
          return found;
        },
      },
      { sessions: this.#storage.loadSessions(), collectUntilMs: this.#collectUntilMs, recordsMax: 2 },
    );
  }

  take(afterMs: number, taken: Step): void {
    this.nowMs += afterMs;
    for (const host of this.#hosts.values()) if (host.deadlineMs <= this.nowMs) host.keys.clear();
    this.#decide(taken);
    this.#storage.write(this.#directory.takeOutput().changes);
    this.#check();
  }

  #decide(taken: Step): void {
    const { nowMs } = this;
    const directory = this.#directory;
    const processId = ('process' in taken ? `p${taken.process}` : '') as ProcessId;
    const host = this.#hosts.get(processId);
    const claim = 'pick' in taken ? this.#granted[taken.pick % this.#granted.length] : undefined;
    const believer = claim && this.#hosts.get(claim.processId);
    const belief =
      claim && believer?.sessionId === claim.sessionId ? believer.keys.get(claim.key) : undefined;
    const holds = claim !== undefined && this.#holds(claim);

    switch (taken.type) {
      case 'open': {
        const open = () =>
          directory.openSession({ ...this.#facts(processId, taken.ttlMs), endEarlier: true }, nowMs);
        if (this.#dead.has(processId)) assert.throws(open, { code: 'HF_WRONG_STATE' });
        else {
          const { sessionId } = open();
          this.#hosts.set(processId, { sessionId, deadlineMs: nowMs + taken.ttlMs, keys: new Map() });
        }
        break;
      }
      case 'claim': {
        const name = key(taken.key);
        const before = taken.peek ? directory.lookup(pool, name, nowMs) : undefined;
        const outcome = directory.claim(pool, name, nowMs);
        if (this.#paused.has(name)) assert.deepEqual(outcome, { owned: false, reason: 'paused' });
        else if (before) assert.deepEqual(outcome, { owned: true, claim: before }, 'not sticky');
        else if (outcome.owned) {
          const { sessionId, fence } = outcome.claim;
          assert(this.#directory.session(sessionId)!.expiresAtMs > nowMs, 'given to a session that is over');
          if (this.#record.get(name)?.fence === fence) break; // as it was
          assert(!directory.collects(nowMs), 'given out while it collects');
          this.#grant(outcome.claim, null);
        } else assert.equal(outcome.reason, directory.collects(nowMs) ? 'recovering' : 'no-live-host');
        break;
      }
      case 'release': {
        if (!claim) break;
        const held = taken.stale ? { ...claim, fence: (claim.fence - 1n) as Fence } : claim;
        assert.equal(directory.release(held, nowMs), holds && !taken.stale);
        if (!taken.stale) this.#letGo(claim);
        if (!holds || taken.stale) break;
        assert.equal(directory.lookup(pool, claim.key, nowMs), null);
        this.#record.delete(claim.key);
        break;
      }
      case 'transfer': {
        if (!claim) break;
        const target = this.#hosts.get(`p${taken.to}` as ProcessId)?.sessionId ?? null;
        const outcome = directory.transfer(claim, target, nowMs);
        assert.equal(outcome.held, holds);
        this.#letGo(claim);
        if (!outcome.held) break;
        this.#record.delete(claim.key);
        assert.deepEqual(directory.transfer(claim, target, nowMs), { held: false }, 'asked again');
        if (!outcome.claim) break;
        assert.notEqual(outcome.claim.sessionId, claim.sessionId);
        assert(!this.#paused.has(claim.key));
        this.seen.moved++;
        this.#grant(outcome.claim, belief ?? null);
        break;
      }
      case 'confirm':
        if (!claim) break;
        assert.equal(directory.confirmOpened(claim, nowMs), holds);
        if (holds) assert(directory.lookup(pool, claim.key, nowMs)?.hadOwner);
        if (belief?.fence === claim.fence) belief.opened = true;
        break;
      case 'raise': {
        const raised = claim && directory.raiseFence(claim, BigInt(taken.above) as Fence, nowMs);
        if (!raised) break;
        assert(raised.fence > BigInt(taken.above));
        this.#grant(raised, belief ?? null);
        break;
      }
      case 'renew': {
        if (!host) break;
        const answer = directory.renewSession(host.sessionId, nowMs);
        if (answer.alive) host.deadlineMs = nowMs + answer.expiresInMs;
        else if (!answer.forgotten) host.keys.clear();
        break;
      }
      case 'drain':
        if (host) directory.updateSession(host.sessionId, { draining: taken.draining }, nowMs);
        break;
      case 'pause':
        directory.pauseKey(pool, key(taken.key), nowMs);
        this.#paused.add(key(taken.key));
        break;
      case 'resume':
        assert.equal(directory.resumeKey(pool, key(taken.key), nowMs), this.#paused.delete(key(taken.key)));
        break;
      case 'alarm':
        if (!claim) break;
        assert.equal(directory.setAlarm(claim, taken.atMs, nowMs), holds);
        if (holds) this.#noteAlarm(claim.key, taken.atMs);
        if (holds && belief) belief.alarmAtMs = taken.atMs;
        break;
      case 'settle':
        if (!claim) break;
        assert.equal(directory.settleAlarm(claim, taken.atMs, nowMs), holds);
        if (!holds || this.#alarms.get(claim.key) !== taken.atMs) break;
        this.#noteAlarm(claim.key, null);
        if (belief) belief.alarmAtMs = null;
        break;
      case 'comeBack':
        if (host && !this.#dead.has(processId)) this.#comeBack(processId, host, taken.ttlMs, taken.twice);
        break;
      case 'repeat': {
        // A question of long ago that arrives again: it must not take a key from anybody, nor give one to who gave it up.
        if (!host || !claim || claim.processId !== processId || directory.collects(nowMs)) break;
        const before = directory.lookup(pool, claim.key, nowMs);
        const live = directory.session(host.sessionId) !== null;
        const held = { key: claim.key, fence: claim.fence, opened: true, alarmAtMs: 7 };
        const refused = directory.adopt(host.sessionId, [held], nowMs);
        const after = directory.lookup(pool, claim.key, nowMs);
        if (before) {
          assert.deepEqual({ ...after, hadOwner: before.hadOwner }, before, 'taken from its owner');
          break;
        }
        const unchanged = live && this.#record.get(claim.key)?.fence === claim.fence;
        assert.deepEqual(refused, unchanged ? [] : [claim.key]);
        assert.equal(after?.fence, unchanged ? claim.fence : undefined);
        if (after) this.#noteKept(after);
        break;
      }
      case 'close':
        if (!host) break;
        host.keys.clear();
        directory.closeSession(host.sessionId, nowMs);
        break;
      case 'die':
        directory.endSessionsOf(processId, nowMs);
        this.#dead.add(processId);
        this.#hosts.delete(processId);
        assert(directory.sessions(pool, nowMs).every(one => one.processId !== processId));
        break;
      case 'restart':
        this.#dead.clear();
        this.#directory = this.#start();
        break;
      case 'forget':
        this.seen.forgotten++;
        this.#storage.clear();
        this.#record.clear();
        this.#paused.clear();
        this.#alarms.clear();
        this.#dead.clear();
        this.#counter += 1_000n;
        this.#collectUntilMs = nowMs + ttlMsMax;
        this.#directory = this.#start();
        break;
    }
  }

  /** Brings back what the host believes in. All of it is kept while the store collects; refused is only what is not its any more. */
  #comeBack(processId: ProcessId, host: Host, ttlMs: number, twice: boolean): void {
    const { nowMs } = this;
    const collecting = this.#directory.collects(nowMs);
    const held = Array.from(host.keys, ([name, belief]) => ({
      key: key(name.slice('/db/'.length)),
      ...belief,
    }));
    const earlier = this.#facts(processId, ttlMs);
    if (twice) this.#directory.resumeSession(earlier, held, nowMs);
    const facts = this.#facts(processId, ttlMs);
    const { sessionId, refused } = this.#directory.resumeSession(facts, held, nowMs);
    for (const late of [earlier, facts]) {
      assert.throws(() => this.#directory.resumeSession(late, held, nowMs), { code: 'HF_WRONG_STATE' });
      assert.throws(() => this.#directory.openSession({ ...late, endEarlier: true }, nowMs), {
        code: 'HF_WRONG_STATE',
      });
    }
    if (host.deadlineMs > nowMs) assert.deepEqual(refused, [], 'a host lost what it held');
    this.#hosts.set(processId, { sessionId, deadlineMs: nowMs + ttlMs, keys: new Map() });
    for (const { key: name, fence, alarmAtMs } of held) {
      if (refused.includes(name)) continue;
      this.seen.adopted++;
      const now = this.#directory.lookup(pool, name, nowMs);
      assert.deepEqual([now?.sessionId, now?.fence], [sessionId, fence]);
      if (collecting && alarmAtMs !== null) this.#noteAlarm(name, alarmAtMs);
      this.#noteKept(now!);
    }
  }

  #facts(processId: ProcessId, ttlMs: number) {
    const facts = { pool, nodeName: 'n' as NodeName, address: 'http://h', ownsResources: true, capacity: 1 };
    const attempt = ++this.#attempts;
    return { ...facts, processId, ttlMs, attempt };
  }

  #holds(claim: Claim): boolean {
    const now = this.#directory.lookup(pool, claim.key, this.nowMs);
    return now?.sessionId === claim.sessionId && now.fence === claim.fence;
  }

  /** A new right: under a fence above all that there ever were for this key. */
  #grant(claim: Claim, before: Belief | null): void {
    assert(claim.fence > (this.#highest.get(claim.key) ?? 0n), 'a fence was given out again');
    this.#highest.set(claim.key, claim.fence);
    this.#noteKept(claim, before);
  }

  #noteKept(claim: Claim, before: Belief | null = null): void {
    assert(this.#directory.session(claim.sessionId), 'given to a session that is over');
    this.#granted.push(claim);
    this.#record.set(claim.key, claim);
    const host = this.#hosts.get(claim.processId);
    if (host?.sessionId !== claim.sessionId) return;
    const alarmAtMs = this.#alarms.get(claim.key) ?? null;
    host.keys.set(claim.key, { fence: claim.fence, opened: before?.opened ?? claim.hadOwner, alarmAtMs });
  }

  #letGo(claim: Claim): void {
    const host = this.#hosts.get(claim.processId);
    if (host?.sessionId === claim.sessionId && host.keys.get(claim.key)?.fence === claim.fence) {
      host.keys.delete(claim.key);
    }
  }

  #noteAlarm(name: string, atMs: number | null): void {
    if (atMs === null) this.#alarms.delete(name);
    else this.#alarms.set(name, atMs);
  }

  #check(): void {
    const { nowMs } = this;
    const believers = new Map<string, ProcessId>();
    for (const [processId, host] of this.#hosts) {
      if (host.deadlineMs <= nowMs) continue;
      for (const name of host.keys.keys()) {
        assert.equal(believers.get(name), undefined, `${name} is answered for by two`);
        believers.set(name, processId);
      }
    }
    const counts = new Map<string, number>();
    for (const name of names) {
      const owner = this.#directory.lookup(pool, key(name), nowMs)?.sessionId;
      if (owner) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    }
    for (const one of this.#directory.sessions(undefined, nowMs)) {
      assert.equal(one.keys, counts.get(one.sessionId) ?? 0, 'a count is wrong');
      assert(this.#directory.session(one.sessionId)!.expiresAtMs > nowMs, 'an expired session is shown');
    }
    this.#storage.write(this.#directory.takeOutput().changes); // what those questions have ended
    for (const stored of this.#storage.loadSessions()) {
      assert.equal(stored.keys, counts.get(stored.sessionId) ?? 0, 'a stored count is wrong');
    }
    const { alarms } = this.#storage.dueAlarms(pool, 100, 1_000);
    assert.deepEqual(
      new Map(alarms.map(({ key: name, atMs }) => [name as string, atMs])),
      new Map([...this.#alarms].filter(([name]) => !this.#paused.has(name))),
      'an alarm was lost or came from nowhere',
    );
  }
}

describe('directory', () => {
  it('keeps its promises through every history, restarts and lost stores included', function () {
    this.timeout(60_000);
    const seen = { adopted: 0, forgotten: 0, moved: 0, reloaded: 0 };
    fc.assert(
      fc.property(history, taken => {
        const world = new World();
        for (const number of [0, 1, 2]) world.take(1, { type: 'open', process: number, ttlMs: 40 });
        for (const { afterMs, step: next } of taken) world.take(afterMs, next);
        for (const name of Object.keys(seen) as (keyof typeof seen)[]) seen[name] += world.seen[name];
      }),
      { numRuns: 3_000 },
    );
    // The histories are worth something only if all of this did happen in them.
    for (const [name, count] of Object.entries(seen)) assert(count > 100, `${name}: ${count}`);
  });
});
