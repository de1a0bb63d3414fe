/**
 * One history, played to the pure directory and to the one on Redis at once. Fences and the ids of sessions are the store's own; they are
 * paired as they appear, and their order must agree. Time is the store's: it is moved on in its record, in steps that never come near
 * the end of a session.
 */
import assert from 'node:assert/strict';
import type {
  Claim,
  DirectoryEvent,
  Fence,
  HeldKey,
  InstanceId,
  KeyRecord,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  ResourceKey,
  SessionId,
} from '#core';
import { Directory } from '../../ownership/directory/directory.ts';
import type { StoredClaim } from '../../ownership/directory/records.ts';
import type { RedisHarness } from './redis-harness.ts';
import { key, pool } from './vocabulary.ts';

const stepMs = 50_000;
const ttls = [75_000, 125_000, 225_000];
/** How long a store that forgot collects. */
export const collectMs = 75_000;
const past = 1_700_000_000_000;
const pools = [pool, 'other' as InstanceId];
/** The fence of a key that nobody has owned. */
const nobody = 0n as Fence;
/** Names of keys, in no order of theirs. */
export const keyNames = ['a', 'ä', 'b', '\u{10000}', '\uffee', 'Z'];

/** What happens; which of the other fields there are depends on the type. */
export interface Operation {
  type: string;
  inPool: number;
  name: string;
  names: string[];
  pick: number;
  picks: number[];
  who: number;
  ttl: number;
  capacity: number;
  flag: boolean;
  stale: boolean;
  /** By how much an attempt is older than the last one; 0: it is a new one. */
  late: number;
  atMs: number | null;
}
/** A claim as each side names it. */
interface Pair {
  redis: Claim;
  pure: Claim;
}

export class Play {
  readonly #harness: RedisHarness;
  readonly #clients: ResourceDirectory[];
  #pure: Directory;
  #pureNowMs = 1_000_000;
  #pureCounter = 0n;
  #nextId: SessionId | null = null;
  readonly #stored = new Map<string, StoredClaim & { pool: InstanceId; key: ResourceKey }>();
  readonly #fences = new Map<bigint, bigint>();
  readonly #granted: Pair[] = [];
  readonly #sessions: SessionId[] = [];
  readonly #dead = new Set<ProcessId>();
  /** Of all processes together. */
  #attempts = 0;
  readonly redisEvents: DirectoryEvent[] = [];
  readonly #pureEvents: DirectoryEvent[] = [];
  #turn = 0;

  constructor(harness: RedisHarness, clients: ResourceDirectory[]) {
    this.#harness = harness;
    this.#clients = clients;
    this.#pure = this.#makePure();
  }

  #makePure(): Directory {
    return new Directory(
      {
        nextFence: () => ++this.#pureCounter as Fence,
        fenceAbove: above => {
          if (above > this.#pureCounter) this.#pureCounter = above;
          return ++this.#pureCounter as Fence;
        },
        fenceSeen: fence => {
          if (fence > this.#pureCounter) this.#pureCounter = fence;
        },
        newSessionId: () => this.#nextId!,
        loadClaim: (inPool, found) => this.#stored.get(`${inPool} ${found}`) ?? null,
      },
      { collectUntilMs: this.#pureNowMs + collectMs },
    );
  }

  get redis(): ResourceDirectory {
    return this.#clients[this.#turn++ % this.#clients.length]!;
  }

  /** Runs the pure side, and stores and tells what it put out. */
  #decide<T>(run: (directory: Directory, nowMs: number) => T): T {
    try {
      return run(this.#pure, this.#pureNowMs);
    } finally {
      const { changes, events } = this.#pure.takeOutput();
      for (const change of changes) {
        if (change.type !== 'put-claim') continue;
        const { pool: ofPool, key: ofKey, fence, session, opened, paused, alarmAtMs } = change.claim;
        const sessionId = session?.sessionId ?? null;
        this.#stored.set(`${ofPool} ${ofKey}`, {
          pool: ofPool,
          key: ofKey,
          fence,
          sessionId,
          opened,
          paused,
          alarmAtMs,
        });
      }
      this.#pureEvents.push(...events);
    }
  }

  /** Whether both mean the same claim. */
  #same(redis: Claim | null, pure: Claim | null): void {
    assert.deepEqual(redis && { ...redis, fence: 0n }, pure && { ...pure, fence: 0n });
    if (!redis || !pure) return;
    const known = this.#fences.get(redis.fence);
    if (known === undefined) this.#fences.set(redis.fence, pure.fence);
    else assert.equal(known, pure.fence, 'the same fence for another right');
    this.#granted.push({ redis, pure });
  }
  #pickPair(index: number): Pair | null {
    return this.#granted.length === 0
      ? null
      : this.#granted[this.#granted.length - 1 - (index % this.#granted.length)]!;
  }
  #pickSession(index: number): SessionId {
    return this.#sessions.length === 0
      ? ('none' as SessionId)
      : this.#sessions[this.#sessions.length - 1 - (index % this.#sessions.length)]!;
  }
  #pickHeld(
    picks: number[],
    opened: boolean,
    inPool: InstanceId | null,
  ): { redis: HeldKey; pure: HeldKey }[] {
    return picks
      .map(index => this.#pickPair(index))
      .filter(pair => pair !== null && (inPool === null || pair.redis.pool === inPool))
      .map(pair => {
        const facts = { key: pair!.redis.key, opened, alarmAtMs: opened ? past + 7 : null };
        return { redis: { ...facts, fence: pair!.redis.fence }, pure: { ...facts, fence: pair!.pure.fence } };
      });
  }

  async run(op: Operation): Promise<void> {
    const redis = this.redis;
    switch (op.type) {
      case 'open':
      case 'resume': {
        const request: OpenSession = {
          pool: pools[op.inPool]!,
          processId: `p${op.who}` as ProcessId,
          nodeName: 'n' as OpenSession['nodeName'],
          address: `http://h${op.who}`,
          ownsResources: op.who !== 4,
          capacity: op.capacity ?? 1,
          ttlMs: ttls[op.ttl]!,
          attempt: op.late ? Math.max(1, this.#attempts - op.late) : ++this.#attempts,
          ...(op.type === 'open' && op.stale ? { endEarlier: true } : {}),
        };
        const held = op.type === 'resume' ? this.#pickHeld(op.picks, op.flag, request.pool) : [];
        const asked =
          op.type === 'open'
            ? redis.openSession(request).then(opened => ({ ...opened, refused: [] }))
            : redis.resumeSession(
                request,
                held.map(each => each.redis),
              );
        const answer = await asked.catch((error: { code?: string }) => {
          if (error.code !== 'HF_WRONG_STATE') throw error;
          return null;
        });
        if (answer) {
          this.#nextId = answer.sessionId;
          this.#sessions.push(answer.sessionId);
        }
        const decide = () =>
          this.#decide((directory, nowMs) =>
            op.type === 'open'
              ? { ...directory.openSession(request, nowMs), refused: [] }
              : directory.resumeSession(
                  request,
                  held.map(each => each.pure),
                  nowMs,
                ),
          );
        if (answer) assert.deepEqual(answer, decide());
        else assert.throws(decide, { code: 'HF_WRONG_STATE' });
        return;
      }
      case 'adopt': {
        const id = this.#pickSession(op.pick);
        const held = this.#pickHeld(op.picks, op.flag, null);
        assert.deepEqual(
          await redis.adopt(
            id,
            held.map(each => each.redis),
          ),
          this.#decide((directory, nowMs) =>
            directory.adopt(
              id,
              held.map(each => each.pure),
              nowMs,
            ),
          ),
        );
        return;
      }
      case 'claim':
      case 'claimMany': {
        const keys = (op.type === 'claim' ? [op.name] : op.names).map(key);
        const ofPool = pools[op.inPool]!;
        const found =
          op.type === 'claim' ? [await redis.claim(ofPool, keys[0]!)] : await redis.claimMany(ofPool, keys);
        for (const [index, each] of keys.entries()) {
          const pure = this.#decide((directory, nowMs) => directory.claim(ofPool, each, nowMs));
          const outcome = found[index]!;
          if (outcome.owned && pure.owned) this.#same(outcome.claim, pure.claim);
          else assert.deepEqual(outcome, pure);
        }
        return;
      }
      case 'release': {
        const pairs = op.picks.map(index => this.#pickPair(index)).filter(pair => pair !== null);
        const shifted = (claim: Claim) => (op.stale ? { ...claim, sessionId: 'stale' as SessionId } : claim);
        const released = await redis.releaseMany(pairs.map(pair => shifted(pair.redis)));
        assert.deepEqual(
          released,
          pairs.map(pair => this.#decide((directory, nowMs) => directory.release(shifted(pair.pure), nowMs))),
        );
        return;
      }
      case 'transfer': {
        const pair = this.#pickPair(op.pick);
        if (!pair) return;
        const to = op.flag ? this.#pickSession(op.who) : null;
        const moved = await redis.transfer(pair.redis, to);
        const pure = this.#decide((directory, nowMs) => directory.transfer(pair.pure, to, nowMs));
        assert.equal(moved.held, pure.held);
        if (moved.held && pure.held) this.#same(moved.claim, pure.claim);
        return;
      }
      case 'confirm': {
        const pair = this.#pickPair(op.pick);
        if (!pair) return;
        assert.equal(
          await redis.confirmOpened(pair.redis),
          this.#decide((directory, nowMs) => directory.confirmOpened(pair.pure, nowMs)),
        );
        return;
      }
      case 'raise': {
        const [pair, seen] = [this.#pickPair(op.pick), this.#pickPair(op.who)];
        if (!pair || !seen) return;
        this.#same(
          await redis.raiseFence(pair.redis, seen.redis.fence),
          this.#decide((directory, nowMs) => directory.raiseFence(pair.pure, seen.pure.fence, nowMs)),
        );
        return;
      }
      case 'pause': {
        const [ofPool, each] = [pools[op.inPool]!, key(op.name)];
        this.#same(
          await redis.pauseKey(ofPool, each),
          this.#decide((directory, nowMs) => directory.pauseKey(ofPool, each, nowMs)),
        );
        return;
      }
      case 'unpause': {
        const [ofPool, each] = [pools[op.inPool]!, key(op.name)];
        assert.equal(
          await redis.resumeKey(ofPool, each),
          this.#decide((directory, nowMs) => directory.resumeKey(ofPool, each, nowMs)),
        );
        return;
      }
      case 'import': {
        const pair = this.#pickPair(op.pick);
        const record = {
          pool: pools[op.inPool]!,
          key: key(op.name),
          opened: op.flag,
          paused: op.stale,
          alarmAtMs: op.atMs === null ? null : past + op.atMs,
        };
        const [redisFence, pureFence] = [pair?.redis.fence ?? nobody, pair?.pure.fence ?? nobody];
        assert.deepEqual(
          await redis.importKeys([{ ...record, fence: redisFence }]),
          this.#decide((directory, nowMs) =>
            directory.importKeys([{ ...record, fence: pureFence }], nobody, nowMs),
          ),
        );
        return;
      }
      case 'setAlarm': {
        const pair = this.#pickPair(op.pick);
        if (!pair) return;
        const atMs = op.atMs === null ? null : past + op.atMs;
        assert.equal(
          await redis.setAlarm(pair.redis, atMs),
          this.#decide((directory, nowMs) => directory.setAlarm(pair.pure, atMs, nowMs)),
        );
        return;
      }
      case 'settleAlarm': {
        const pair = this.#pickPair(op.pick);
        if (!pair) return;
        const atMs = past + op.atMs!;
        assert.equal(
          await redis.settleAlarm(pair.redis, atMs),
          this.#decide((directory, nowMs) => directory.settleAlarm(pair.pure, atMs, nowMs)),
        );
        return;
      }
      case 'renew': {
        const id = this.#pickSession(op.pick);
        assert.deepEqual(
          await redis.renewSession(id),
          this.#decide((directory, nowMs) => directory.renewSession(id, nowMs)),
        );
        return;
      }
      case 'update': {
        const id = this.#pickSession(op.pick);
        const change = op.stale ? { draining: op.flag } : { ready: op.flag };
        assert.equal(
          await redis.updateSession(id, change),
          this.#decide((directory, nowMs) => directory.updateSession(id, change, nowMs)),
        );
        return;
      }
      case 'close': {
        const id = this.#pickSession(op.pick);
        await redis.closeSession(id);
        this.#decide((directory, nowMs) => directory.closeSession(id, nowMs));
        return;
      }
      case 'die': {
        const processId = `p${op.who}` as ProcessId;
        this.#dead.add(processId);
        assert.equal(
          await redis.endSessionsOf(processId),
          this.#decide((directory, nowMs) => directory.endSessionsOf(processId, nowMs)),
        );
        return;
      }
      case 'wait':
        await this.#harness.raw.hincrby(this.#harness.name('meta'), 'nowMs', stepMs);
        this.#pureNowMs += stepMs;
        await this.redis.sessions();
        this.#decide((directory, nowMs) => directory.expire(nowMs));
        return;
      case 'forget': {
        // What a restart of a Redis with its files looks like: another server, the same records.
        await this.#harness.raw.hset(this.#harness.name('meta'), 'server', 'another');
        await this.#harness.raw.eval(...this.#harness.attachment(collectMs));
        this.#pureCounter += 1_000_000_000n;
        this.#pure = this.#makePure();
        const attempts = await this.#harness.raw.keys(this.#harness.name('attempt:*'));
        if (attempts.length > 0) await this.#harness.raw.del(attempts);
        // Redis keeps the proofs of death, as far as it keeps anything.
        for (const processId of this.#dead) this.#pure.endSessionsOf(processId, this.#pureNowMs);
        return;
      }
      default:
        assert.fail(op.type);
    }
  }

  async compare(): Promise<void> {
    const redis = this.redis;
    const claims: Claim[] = [];
    for (const ofPool of pools) {
      const sort = <T extends { sessionId: string }>(all: T[]) =>
        all.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1));
      assert.deepEqual(
        sort(await redis.sessions(ofPool)),
        sort(this.#decide((directory, nowMs) => directory.sessions(ofPool, nowMs))),
      );
      for (const each of keyNames.map(key)) {
        const found = await redis.lookup(ofPool, each);
        if (found) claims.push(found);
        this.#same(
          found,
          this.#decide((directory, nowMs) => directory.lookup(ofPool, each, nowMs)),
        );
      }
      const due = [...this.#stored.values()]
        .filter(one => one.pool === ofPool && one.alarmAtMs !== null && !one.paused)
        .map(one => ({ key: one.key, atMs: one.alarmAtMs! }))
        .sort((a, b) => a.atMs - b.atMs || Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
      assert.deepEqual(await redis.dueAlarms(ofPool, 100), { alarms: due, nextInMs: null });
    }
    const facts = (all: Iterable<Omit<KeyRecord, 'fence'>>) =>
      Array.from(all, one =>
        JSON.stringify([one.pool, one.key, one.opened, one.paused, one.alarmAtMs]),
      ).sort();
    assert.deepEqual(facts(await exported(redis)), facts(this.#stored.values()));
    const place = (claim: Claim) => Buffer.from(`${claim.key}\0${claim.pool}`);
    assert.deepEqual(
      (await redis.list({})).claims,
      claims.toSorted((a, b) => Buffer.compare(place(a), place(b))),
    );
    const inOrder = [...this.#fences].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, pure]) => pure);
    assert.deepEqual(
      inOrder,
      inOrder.toSorted((a, b) => (a < b ? -1 : 1)),
      'another order of fences',
    );

    // Sessions that end at once end in any order.
    const show = (events: DirectoryEvent[]) =>
      events
        .filter(event => event.type !== 'reset')
        .map(event => JSON.stringify(event, canonical))
        .sort();
    assert.deepEqual(show(this.redisEvents), show(this.#pureEvents));
  }
}

async function exported(redis: ResourceDirectory): Promise<KeyRecord[]> {
  const found: KeyRecord[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<ResourceDirectory['exportKeys']>> = await redis.exportKeys(cursor, 1_000);
    found.push(...page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  return found;
}

/** Fences are compared elsewhere, and the order of an event's fields is nobody's business. */
function canonical(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return 'fence';
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
