/**
 * Carries jobs out: lets the step decide on what was observed, writes what it decided, and only then demands it of the plan, which starts and
 * stops the processes. What is demanded is always what is written, so another manager goes on where this one ended.
 */
import {
  HoldfastError,
  isoTime,
  jobMarkerName,
  type ApiEvent,
  type DocumentStore,
  type InstanceSettings,
  type JobDetail,
  type JobInfo,
  type Logger,
  type System,
} from '#core';
import type { Note, Notes } from '../cluster/notes.ts';
import { desiredInstances } from '../planning/desired.ts';
import type { PlanInput } from '../planning/model.ts';
import type { SettingsKeeper } from '../settings/settings-keeper.ts';
import { demandOf, emptyJob, type JobDemands, type JobFacts, type JobNote } from './model.ts';
import { createSightings } from './seen.ts';
import { begin, cancel, stepJob, type JobEvent, type JobStep } from './step.ts';
import { detailOf, infoOf } from './view.ts';

type Facts = Omit<PlanInput, 'rollouts' | 'jobs'>;

export interface Jobs {
  /** Decides and writes what is due; only for a leader. Never rejects: what could not be written is decided again. */
  advance(facts: Facts): Promise<void>;
  /** Takes in what was observed, to tell of it; for a manager that stands by. */
  look(facts: Facts): void;
  /** What shall run, as it is written. A job that is left out is not known yet: nothing of it is to be touched. */
  demands(): JobDemands;
  /** What would be demanded after an `advance`. */
  preview(facts: Facts): JobDemands;
  /** When `advance` is due by time alone; null: it is not. */
  dueInMs(): number | null;
  list(): Promise<JobInfo[]>;
  /** @throws HoldfastError HF_NOT_FOUND */
  get(id: string): Promise<JobDetail>;
  /** Runs it now. @throws HoldfastError HF_NOT_FOUND, HF_JOB_RUNNING, HF_NOT_LEADER */
  run(id: string, by: string): Promise<JobInfo>;
  /** Ends the run under way. @throws HoldfastError HF_NOT_FOUND, HF_WRONG_STATE, HF_NOT_LEADER */
  cancel(id: string, by: string): Promise<JobInfo>;
}

/** A job that this manager has read. */
interface Known {
  note: Note<JobNote>;
  /** The highest number of a run that a host had begun when the note was read. */
  begunNumber: number;
}

/** When what could not be written is tried again. */
const againMs = 1_000;

export function createJobs(options: {
  notes: Pick<Notes, 'open'>;
  documents: Pick<DocumentStore, 'get'>;
  settings: Pick<SettingsKeeper, 'current'>;
  system: System;
  log: Logger;
  request: (reason: string) => void;
  onEvent: (event: ApiEvent) => void;
}): Jobs {
  const { settings, system, log } = options;
  const notes = new Map<string, Note<JobNote>>();
  const known = new Map<string, Known>();
  const sightings = createSightings();
  let dueMs: number | null = null;
  const wallMs = () => system.clock.wallMs();

  function instances(): InstanceSettings[] {
    return settings.current()?.settings.componentInstances.filter(({ job }) => job !== null) ?? [];
  }

  /** Reads the note before anything is decided by it. */
  async function learn(id: string): Promise<Known> {
    const before = known.get(id);
    if (before) return before;
    let note = notes.get(id);
    if (!note) {
      note = options.notes.open<JobNote>(`jobs/${id}`, emptyJob, () => options.request(`job ${id} changed`));
      notes.set(id, note);
    }
    const marker = await options.documents.get(jobMarkerName(id));
    await note.refresh();
    const begunNumber = marker ? (JSON.parse(marker.content) as { number: number }).number : 0;
    const learnt = { note, begunNumber };
    known.set(id, learnt);
    return learnt;
  }

  function revisions(facts: Facts): Map<string, string | null> {
    const jobs = { ...facts.settings, componentInstances: instances() };
    return new Map(
      desiredInstances({ ...facts, settings: jobs }).map(({ settings: { id }, revisionId }) => [
        id,
        revisionId,
      ]),
    );
  }

  function stepOf(instance: InstanceSettings, note: JobNote, facts: Omit<JobFacts, FoundHere>): JobStep {
    return stepJob(note, {
      ...facts,
      instance,
      nowMs: wallMs(),
      seen: sightings.runsOf(instance.id),
      nodeState: sightings.nodeState,
      failure: sightings.failureOf(instance, note),
    });
  }

  async function advance(facts: Facts): Promise<void> {
    const found = instances();
    const revisionOf = revisions(facts);
    sightings.look(facts);
    const next = await Promise.all(
      found.map(async instance => {
        try {
          return await advanceOne(instance, revisionOf.get(instance.id) ?? null);
        } catch (error) {
          log.warn({ job: instance.id, error: String(error) }, 'a job could not go on');
          return wallMs() + againMs;
        }
      }),
    );
    const times = next.filter(ms => ms !== null);
    dueMs = times.length === 0 ? null : Math.min(...times);
  }

  async function advanceOne(instance: InstanceSettings, revisionId: string | null): Promise<number | null> {
    const { note, begunNumber } = await learn(instance.id);
    const facts = { revisionId, begunNumber };
    let step = stepOf(instance, note.current(), facts);
    if (step.note !== note.current()) {
      await note.change(present => {
        step = stepOf(instance, present, facts);
        return step.note === present ? null : step.note;
      });
    }
    for (const event of step.events) tell(instance.id, event);
    return step.nextMs;
  }

  function tell(instanceId: string, event: JobEvent): void {
    const facts = factsOf(event);
    log.info({ job: instanceId, ...facts }, 'a job went on');
    options.onEvent({ type: 'job', at: isoTime(system.clock), instanceId, ...facts });
  }

  function must(id: string): InstanceSettings {
    const instance = instances().find(one => one.id === id);
    if (instance) return instance;
    throw new HoldfastError('HF_NOT_FOUND', `${id} is not the id of a job; see GET /api/master/jobs`, {
      details: { jobs: instances().map(one => one.id) },
    });
  }

  const noteOf = (id: string) => known.get(id)?.note.current() ?? emptyJob;
  const viewOf = (instance: InstanceSettings) => ({
    instance,
    note: noteOf(instance.id),
    seen: sightings.runsOf(instance.id),
    nowMs: wallMs(),
  });

  return {
    advance,
    demands: () =>
      Object.fromEntries(
        instances().flatMap(({ id }) => (known.has(id) ? [[id, demandOf(id, noteOf(id), wallMs())]] : [])),
      ),
    preview(facts) {
      sightings.look(facts);
      const revisionOf = revisions(facts);
      return Object.fromEntries(
        instances().flatMap(instance => {
          const { id } = instance;
          const { begunNumber } = known.get(id) ?? {};
          if (begunNumber === undefined) return [];
          const { note } = stepOf(instance, noteOf(id), {
            revisionId: revisionOf.get(id) ?? null,
            begunNumber,
          });
          return [[id, demandOf(id, note, wallMs())]];
        }),
      );
    },
    dueInMs: () => (dueMs === null ? null : Math.max(0, dueMs - wallMs())),
    look: sightings.look,
    list: () =>
      Promise.all(
        instances().map(async instance => {
          await learn(instance.id);
          return infoOf(viewOf(instance));
        }),
      ),
    async get(id) {
      const instance = must(id);
      await learn(id);
      return detailOf(viewOf(instance));
    },
    async run(id, by) {
      const instance = must(id);
      const { note } = await learn(id);
      const facts = { instance, nowMs: wallMs() };
      const due = { scheduledAt: isoTime(system.clock), trigger: { kind: 'operator', by } as const };
      const next = await note.change(present => {
        if (present.active) throw alreadyRuns(id, present.active.runId);
        return begin(present, due, facts);
      });
      tell(id, { type: 'demanded', attempt: next.active! });
      options.request(`${by} runs the job ${id}`);
      return infoOf(viewOf(instance));
    },
    async cancel(id, by) {
      const instance = must(id);
      const { note } = await learn(id);
      const next = await note.change(present => {
        if (present.active) return cancel(present, by, { instance, nowMs: wallMs() });
        throw new HoldfastError('HF_WRONG_STATE', `no run of ${id} is under way that could be cancelled`);
      });
      tell(id, { type: 'ended', record: next.history[0]! });
      options.request(`${by} cancelled a run of ${id}`);
      return infoOf(viewOf(instance));
    },
  };
}

type FoundHere = 'instance' | 'nowMs' | 'seen' | 'nodeState' | 'failure';

function alreadyRuns(id: string, runId: string): HoldfastError {
  const mend = 'wait until it has ended, or cancel it';
  return new HoldfastError('HF_JOB_RUNNING', `run ${runId} of ${id} is under way; ${mend}`, {
    details: { runId },
  });
}

function factsOf(event: JobEvent): Record<string, unknown> {
  switch (event.type) {
    case 'demanded': {
      const { runId, attempt, scheduledAt, trigger } = event.attempt;
      return { what: 'demanded', runId, attempt, scheduledAt, trigger: trigger.kind };
    }
    case 'ended': {
      const { runId, attempt, scheduledAt, outcome, node, error } = event.record;
      return {
        what: 'ended',
        runId,
        attempt,
        scheduledAt,
        outcome,
        node,
        error: error && `${error.code}: ${error.message}`,
      };
    }
    case 'skipped':
      return { what: 'skipped', times: event.times };
  }
}
