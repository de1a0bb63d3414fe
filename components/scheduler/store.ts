/**
 * The records of all schedules, kept in notes, so that a restart or a takeover, also by another machine, neither repeats nor loses a tick.
 *
 * Why this holds. That a tick was decided and its firing are one note, written by compare-and-set before anything is published; so each tick is decided by one
 * leader, and what an earlier one still tries to write is refused. A crash between publishing and writing that down publishes the message again, under the same
 * id, because the id is made of schedule and tick.
 */
import type { Note, Notes, System } from '#core';
import { begin, type Firing, type ScheduleRecord } from './record.ts';

export interface Store {
  /** As it was written last. */
  get(schedule: string): ScheduleRecord;
  /** Writes what `change` makes of the record; changes of one schedule come one after the other. @throws HF_FENCED */
  update(schedule: string, change: (record: ScheduleRecord) => ScheduleRecord): Promise<void>;
  /** The firing that has waited longest. */
  nextWaiting(): { schedule: string; firing: Firing } | null;
}

export interface StoreOptions {
  notes: Notes;
  system: System;
  fence: bigint;
  signal: AbortSignal;
}

interface Entry {
  record: ScheduleRecord;
  version: string;
  /** Resolves when no change is under way. */
  idle: Promise<void>;
}

const retryMs = 200;

/** Takes the schedules over. @throws HF_FENCED when a newer leader has */
export async function openStore(
  schedules: readonly { id: string; definition: string }[],
  options: StoreOptions,
): Promise<Store> {
  const { notes, system, fence, signal } = options;
  const entries = new Map<string, Entry>();
  await Promise.all(schedules.map(async schedule => entries.set(schedule.id, await takeOver(schedule))));

  async function takeOver({ id, definition }: { id: string; definition: string }): Promise<Entry> {
    const found = await persistently(() => notes.read(noteName(id)));
    const record = found && parse(found);
    if (record && BigInt(record.fence) > fence) throw fenced(id);
    const begun = begin(record, { definition, fence: String(fence), nowMs: system.clock.wallMs() });
    return {
      record: begun,
      version: await write(id, begun, found?.version ?? null),
      idle: Promise.resolve(),
    };
  }

  async function write(id: string, record: ScheduleRecord, version: string | null): Promise<string> {
    const text = JSON.stringify(record);
    const outcome = await persistently(() => notes.write(noteName(id), text, version));
    if (outcome.written) return outcome.version;
    // Ours, if an attempt before was executed but its answer was lost.
    if (outcome.current?.text === text) return outcome.current.version;
    throw fenced(id);
  }

  /** As long as the lease is held, a store that is away is waited for. */
  async function persistently<Result>(work: () => Promise<Result>): Promise<Result> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        if ((error as { code?: string }).code !== 'HF_COORDINATION_UNAVAILABLE') throw error;
        await system.timers.sleep(retryMs, signal);
      }
    }
  }

  function entryOf(id: string): Entry {
    const entry = entries.get(id);
    if (!entry) throw new Error(`no schedule ${id}`);
    return entry;
  }

  return {
    get: id => entryOf(id).record,
    update(id, change) {
      const entry = entryOf(id);
      const work = entry.idle.then(async () => {
        const record = change(entry.record);
        entry.version = await write(id, record, entry.version);
        entry.record = record;
      });
      entry.idle = work.catch(() => {}); // told to whoever asked for it
      return work;
    },
    nextWaiting() {
      let next: { schedule: string; firing: Firing } | null = null;
      for (const [schedule, { record }] of entries) {
        const [firing] = record.waiting;
        if (firing && (!next || firing.decidedMs < next.firing.decidedMs)) next = { schedule, firing };
      }
      return next;
    },
  };
}

/** Null: it has never been led. For any copy, the leader or not. */
export async function readRecord(notes: Notes, schedule: string): Promise<ScheduleRecord | null> {
  const found = await notes.read(noteName(schedule));
  return found && parse(found);
}

function noteName(schedule: string): string {
  return `schedules/${schedule}`;
}

function parse({ text }: Note): ScheduleRecord {
  return JSON.parse(text) as ScheduleRecord;
}

function fenced(id: string): Error {
  return Object.assign(new Error(`another leader has written the note of the schedule ${id}`), {
    name: 'HoldfastError',
    code: 'HF_FENCED',
  });
}
