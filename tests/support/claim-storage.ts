/** What stands behind a `Directory` in tests: the records that it puts out, in memory, with the lists that a store makes of them. */
import {
  HoldfastError,
  type Claim,
  type InstanceId,
  type KeyRecord,
  type ResourceDirectory,
  type ResourceKey,
  type SessionId,
} from '#core';
import {
  describeClaim,
  type DirectoryChange,
  type SessionRecord,
  type StoredClaim,
} from '../../ownership/directory/records.ts';

type Row = StoredClaim & { pool: InstanceId; key: ResourceKey };
type Query = Parameters<ResourceDirectory['list']>[0];

export class ClaimStorage {
  readonly #rows = new Map<string, Row>();
  /** Sessions as stored: copies, which a directory that starts anew takes over. */
  readonly #sessions = new Map<SessionId, SessionRecord>();

  load(pool: InstanceId, key: ResourceKey): StoredClaim | null {
    return this.#rows.get(idOf(pool, key)) ?? null;
  }

  loadSessions(): SessionRecord[] {
    return Array.from(this.#sessions.values(), session => ({ ...session }));
  }

  write(changes: DirectoryChange[]): void {
    for (const change of changes) {
      if (change.type === 'put-claim') {
        const { pool, key, session, ...facts } = change.claim;
        this.#rows.set(idOf(pool, key), { pool, key, ...facts, sessionId: session?.sessionId ?? null });
      } else if (change.type === 'delete-session') this.#sessions.delete(change.sessionId);
      else if (change.session.live) this.#sessions.set(change.session.sessionId, { ...change.session });
    }
  }

  /** What a store knows after it lost everything. */
  clear(): void {
    this.#rows.clear();
    this.#sessions.clear();
  }

  list(
    query: Query,
    liveSession: (id: SessionId) => SessionRecord | null,
  ): { claims: Claim[]; cursor: string | null } {
    const { pool, key, prefix = '', sessionId, limit = 1_000, cursor } = query;
    if (limit < 1 || limit > 1_000) throw new HoldfastError('HF_REQUEST_INVALID', 'limit must be 1 to 1000');
    const found: { id: string; claim: Claim }[] = [];
    for (const id of [...this.#rows.keys()].sort(inByteOrder)) {
      if (cursor !== undefined && inByteOrder(id, cursor) <= 0) continue;
      const row = this.#rows.get(id)!;
      const session = row.sessionId === null ? null : liveSession(row.sessionId);
      if (!session || (sessionId !== undefined && sessionId !== session.sessionId)) continue;
      if ((pool !== undefined && row.pool !== pool) || (key !== undefined && row.key !== key)) continue;
      if (row.key.startsWith(prefix)) found.push({ id, claim: describeClaim(row, session) });
    }
    const page = found.slice(0, limit);
    return {
      claims: page.map(({ claim }) => claim),
      cursor: found.length > page.length ? page.at(-1)!.id : null,
    };
  }

  export(cursor: string | null, limit: number): { records: KeyRecord[]; cursor: string | null } {
    const ids = [...this.#rows.keys()]
      .sort(inByteOrder)
      .filter(id => cursor === null || inByteOrder(id, cursor) > 0);
    const page = ids.slice(0, limit);
    const records = page.map(id => {
      const { sessionId: _owner, ...record } = this.#rows.get(id)!;
      return record;
    });
    return { records, cursor: ids.length > page.length ? page.at(-1)! : null };
  }

  dueAlarms(
    pool: InstanceId,
    limit: number,
    wallMs: number,
  ): { alarms: { key: ResourceKey; atMs: number }[]; nextInMs: number | null } {
    const waiting = [...this.#rows.values()]
      .flatMap(row =>
        row.pool === pool && row.alarmAtMs !== null && !row.paused
          ? [{ key: row.key, atMs: row.alarmAtMs }]
          : [],
      )
      .sort((a, b) => a.atMs - b.atMs || inByteOrder(a.key, b.key));
    const alarms = waiting.filter(({ atMs }) => atMs <= wallMs).slice(0, limit);
    const next = waiting[alarms.length];
    return { alarms, nextInMs: next ? Math.max(0, next.atMs - wallMs) : null };
  }
}

const idOf = (pool: InstanceId, key: ResourceKey) => `${key}\0${pool}`;
const inByteOrder = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
