/**
 * What was decided, kept so that a restart or a takeover neither repeats nor loses a tick: a SQLite file.
 *
 * Why this holds. That a tick was decided and its firing are written in one transaction, which checks the fence of the leader's lease. Firings are published
 * afterwards, in order, and marked. A crash in between publishes one again, under the same id, because the id is made of schedule and tick.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createSqliteFence } from '#fences';
import type { Decision } from './due.ts';

export interface Firing {
  sequence: number;
  schedule: string;
  tickMs: number;
  decidedMs: number;
}

/** One line of the history. */
export interface Entry {
  scheduledAt: string;
  /** With `missed` and `overlap`: the last tick of those that were passed over. */
  until?: string;
  outcome: 'waiting' | 'published' | 'refused' | 'missed' | 'overlap';
  decidedAt: string;
  publishedAt?: string;
}

export interface Store {
  /** Up to when the ticks of this schedule are decided. One that is new, or has another definition than before, begins at `nowMs`. */
  begin(schedule: string, definition: string, nowMs: number): number;
  record(schedule: string, decision: Decision, nowMs: number): void;
  /** How many firings wait to be published. */
  waiting(schedule: string): number;
  /** The oldest of them. */
  nextWaiting(): Firing | null;
  /** `refused`: the publisher will never take it. */
  settle(sequence: number, outcome: 'published' | 'refused', nowMs: number): void;
  close(): void;
}

const schema = `
  CREATE TABLE IF NOT EXISTS schedule (id TEXT PRIMARY KEY, definition TEXT NOT NULL, decided_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS firing (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, schedule TEXT NOT NULL, tick_ms INTEGER NOT NULL, until_ms INTEGER,
    outcome TEXT NOT NULL, decided_ms INTEGER NOT NULL, published_ms INTEGER, fence TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS firing_by_schedule ON firing (schedule, sequence);
  CREATE INDEX IF NOT EXISTS firing_waiting ON firing (sequence) WHERE outcome = 'waiting';`;

const busyMs = 500;

/**
 * Takes the file over for the leader with this fence; makes it if there is none.
 * @throws HF_FENCED when a newer leader has taken it over; SQLite's errors
 */
export function openStore(file: string, fence: bigint, historyMax: number): Store {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file, { timeout: busyMs });
  try {
    database.exec('PRAGMA synchronous = FULL');
    const fenced = createSqliteFence(database);
    fenced.install(fence, () => database.exec(schema));

    const find = database.prepare('SELECT definition, decided_ms FROM schedule WHERE id = ?');
    const put = database.prepare(
      'INSERT OR REPLACE INTO schedule (id, definition, decided_ms) VALUES (?, ?, ?)',
    );
    const decided = database.prepare('UPDATE schedule SET decided_ms = ? WHERE id = ?');
    const newest = database.prepare(
      'SELECT sequence, outcome FROM firing WHERE schedule = ? ORDER BY sequence DESC LIMIT 1',
    );
    const extend = database.prepare('UPDATE firing SET until_ms = ? WHERE sequence = ?');
    const add = database.prepare(
      'INSERT INTO firing (schedule, tick_ms, until_ms, outcome, decided_ms, fence) VALUES (?, ?, ?, ?, ?, ?)',
    );
    const trim = database.prepare(
      `DELETE FROM firing WHERE schedule = ?1 AND outcome <> 'waiting' AND sequence <=
         (SELECT sequence FROM firing WHERE schedule = ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?2)`,
    );
    const count = database.prepare(
      `SELECT count(*) AS count FROM firing WHERE schedule = ? AND outcome = 'waiting'`,
    );
    const oldest = database.prepare(
      `SELECT sequence, schedule, tick_ms, decided_ms FROM firing WHERE outcome = 'waiting' ORDER BY sequence LIMIT 1`,
    );
    const settle = database.prepare('UPDATE firing SET outcome = ?, published_ms = ? WHERE sequence = ?');

    return {
      begin: (schedule, definition, nowMs) =>
        fenced.write(fence, () => {
          const found = find.get(schedule);
          if (found?.definition === definition) return Number(found.decided_ms);
          put.run(schedule, definition, nowMs);
          return nowMs;
        }),
      record(schedule, decision, nowMs) {
        fenced.write(fence, () => {
          for (const { firstMs, lastMs, reason } of decision.passedOver) {
            const before = newest.get(schedule);
            // One line however long it lasts.
            if (before?.outcome === reason) extend.run(lastMs, Number(before.sequence));
            else add.run(schedule, firstMs, lastMs, reason, nowMs, String(fence));
          }
          for (const tickMs of decision.fire)
            add.run(schedule, tickMs, null, 'waiting', nowMs, String(fence));
          decided.run(decision.decidedMs, schedule);
          trim.run(schedule, historyMax);
        });
      },
      waiting: schedule => Number(count.get(schedule)?.count),
      nextWaiting() {
        const row = oldest.get();
        if (!row) return null;
        return {
          sequence: Number(row.sequence),
          schedule: String(row.schedule),
          tickMs: Number(row.tick_ms),
          decidedMs: Number(row.decided_ms),
        };
      },
      settle: (sequence, outcome, nowMs) =>
        fenced.write(fence, () => void settle.run(outcome, outcome === 'published' ? nowMs : null, sequence)),
      close: () => database.close(),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** The newest first. For any copy on this machine, the leader or not. */
export function readHistory(file: string, schedule: string, limit: number): Entry[] {
  if (!existsSync(file)) return [];
  const database = new DatabaseSync(file, { readOnly: true, timeout: busyMs });
  try {
    return database
      .prepare('SELECT * FROM firing WHERE schedule = ? ORDER BY sequence DESC LIMIT ?')
      .all(schedule, limit)
      .map(row => ({
        scheduledAt: iso(row.tick_ms),
        ...(row.until_ms === null ? {} : { until: iso(row.until_ms) }),
        outcome: row.outcome as Entry['outcome'],
        decidedAt: iso(row.decided_ms),
        ...(row.published_ms === null ? {} : { publishedAt: iso(row.published_ms) }),
      }));
  } finally {
    database.close();
  }
}

function iso(ms: unknown): string {
  return new Date(Number(ms)).toISOString();
}
