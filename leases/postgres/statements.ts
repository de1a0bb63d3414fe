/**
 * The rule of `../decision.ts` as SQL. Each operation is one statement, so that a client which is frozen in the middle holds no
 * lock, and each is atomic:
 *
 * - `locked` waits for the row and reads its newest version; only then, in `judged`, is the clock read, and only then is the
 *   next fence taken. So decisions about one name follow each other, in the order of their fences and times.
 * - A row stays when its lease ends (swept after an hour), because a lock needs something to lie on. A name without a row gets one
 *   that has ended already, in a statement of its own, and the operation is tried again.
 * - All times are the server's clock_timestamp(): the time of a transaction's begin would lie before the wait for the lock.
 *
 * It needs READ COMMITTED, PostgreSQL's default; stricter levels fail with 40001 where two meet, and are tried again.
 */
import type { LeaseSchema } from './schema.ts';

/** Every statement of an opened table. Numbers in comments are parameters. */
export interface Statements {
  /** name, holder, ttlMs, channel, told name */
  acquire: string;
  /** name, holder, ttlMs, fence */
  renew: string;
  /** name, holder, fence, channel, told name */
  release: string;
  /** name: makes a row for it, unless there is one */
  makeRow: string;
  /** name */
  inspect: string;
  /** prefix, after, limit */
  list: string;
  sweep: string;
}

/** What `acquire`, `renew` and `release` answer, in exactly one row; all as text, whatever parsers the client has. */
export interface StatementRow {
  /** `missing`: no row. `live`/`ended`: as the row is now, or stays. */
  found: 'missing' | 'live' | 'ended';
  changed: 'yes' | 'no';
  holder: string | null;
  fence: string | null;
  expires_in_ms: string | null;
}

/** A lost commit would take back a fence that somebody has seen: nobody's `synchronous_commit = off` may reach it. */
const durable = `durable AS MATERIALIZED (
  SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
)`;

const inMs = (interval: string) => `(extract(epoch FROM ${interval}) * 1000)::text`;

/** Names in the parts come from the server, quoted by it. */
export function buildStatements({ table, sequence }: LeaseSchema): Statements {
  const change = (parts: { set: string; where: string; notify: string }) => `
    WITH ${durable}, locked AS MATERIALIZED (
      SELECT holder, fence, expires_at FROM ${table} WHERE name = $1 FOR UPDATE
    ), judged AS MATERIALIZED (
      SELECT holder, fence, expires_at, clock_timestamp() AS now FROM locked
    ), changed AS (
      UPDATE ${table} AS lease SET ${parts.set}
      FROM judged WHERE lease.name = $1 AND ${parts.where}
      RETURNING lease.holder, lease.fence, lease.expires_at
    )
    SELECT CASE WHEN judged.now IS NULL THEN 'missing' WHEN final.expires_at > judged.now THEN 'live' ELSE 'ended' END AS found,
           CASE WHEN changed.fence IS NULL THEN 'no' ELSE 'yes' END AS changed,
           final.holder, final.fence::text AS fence, ${inMs('final.expires_at - judged.now')} AS expires_in_ms
           ${parts.notify}
    FROM durable LEFT JOIN judged ON true LEFT JOIN changed ON true
    CROSS JOIN LATERAL (SELECT coalesce(changed.holder, judged.holder) AS holder,
      coalesce(changed.fence, judged.fence) AS fence, coalesce(changed.expires_at, judged.expires_at) AS expires_at) AS final`;
  const until = `greatest(judged.expires_at, judged.now + $3::float8 * interval '1 millisecond')`;
  const isTheirs = (fence: string) =>
    `judged.expires_at > judged.now AND judged.holder = $2 AND judged.fence = ${fence}::bigint`;

  return {
    acquire: change({
      set: `holder = $2, expires_at = ${until},
        fence = CASE WHEN judged.expires_at > judged.now THEN judged.fence ELSE nextval(${sequence}) END`,
      where: `(judged.expires_at <= judged.now OR judged.holder = $2)`,
      notify: `, CASE WHEN changed.fence <> judged.fence THEN pg_notify($4, $5)::text END AS told`,
    }),
    renew: change({ set: `expires_at = ${until}`, where: isTheirs('$4'), notify: '' }),
    release: change({
      set: 'expires_at = judged.now',
      where: isTheirs('$3'),
      notify: `, CASE WHEN changed.fence IS NOT NULL THEN pg_notify($4, $5)::text END AS told`,
    }),
    makeRow: `INSERT INTO ${table} (name, holder, fence, expires_at) VALUES ($1, '', 0, clock_timestamp())
      ON CONFLICT (name) DO NOTHING`,
    inspect: `SELECT holder, fence::text AS fence, ${inMs('expires_at - now')} AS expires_in_ms
      FROM (SELECT *, clock_timestamp() AS now FROM ${table} WHERE name = $1 OFFSET 0) AS lease WHERE expires_at > now`,
    list: `SELECT name, holder, fence::text AS fence, ${inMs('expires_at - now.at')} AS expires_in_ms
      FROM ${table}, (SELECT clock_timestamp() AS at OFFSET 0) AS now
      WHERE name >= $1 AND name <= $1 || repeat(chr(1114111), 128) AND starts_with(name, $1) AND name > $2 AND expires_at > now.at ORDER BY name LIMIT $3`,
    sweep: `DELETE FROM ${table} WHERE name IN (
      SELECT name FROM ${table} WHERE expires_at < clock_timestamp() - interval '1 hour' LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
  };
}
