import { strict as assert } from 'node:assert';
import { fillInstance, type InstanceSettings, type JobRunStatus, type NodeReachability } from '#core';
import {
  demandOf,
  emptyJob,
  type JobFacts,
  type JobNote,
  type SeenRun,
} from '../../../node-manager/jobs/model.ts';
import { begin, cancel, stepJob } from '../../../node-manager/jobs/step.ts';

const at = (text: string) => Date.parse(`2026-03-01T${text}Z`);

function instanceOf(job: object): InstanceSettings {
  return fillInstance({ id: 'report', packageName: 'report', job, restart: { backoffMs: 1_000 } });
}

/** A job whose facts are changed between steps. */
function jobOf(job: object) {
  let note: JobNote = emptyJob;
  const facts = {
    instance: instanceOf(job),
    revisionId: 'abc' as string | null,
    nowMs: at('10:00:30'),
    seen: [] as SeenRun[],
    nodeState: (_name: string): NodeReachability => 'ready',
    failure: null as JobFacts['failure'],
    begunNumber: 0,
  };
  return {
    facts,
    get note() {
      return note;
    },
    set note(next) {
      note = next;
    },
    /** What a leader does that has read the note just now. */
    step(change: Partial<typeof facts> = {}) {
      Object.assign(facts, change);
      const step = stepJob(JSON.parse(JSON.stringify(note)) as JobNote, facts);
      ({ note } = step);
      return step;
    },
    demand: () => demandOf('report', note, facts.nowMs),
  };
}

const status = (change: Partial<JobRunStatus>): JobRunStatus => ({
  runId: 'r1',
  state: 'running',
  fence: '7',
  startedAt: '2026-03-01T10:01:00.000Z',
  endedAt: null,
  result: null,
  error: null,
  ...change,
});
const run = (change: Partial<SeenRun> = {}): SeenRun => ({
  slot: 'r1-1',
  node: 'node-1',
  processId: 'p1',
  status: status({}),
  seenForMs: 0,
  ended: null,
  ...change,
});
const succeeded = status({ state: 'succeeded', endedAt: '2026-03-01T10:01:05.000Z', result: '{"rows":3}' });
const failed = status({
  state: 'failed',
  endedAt: '2026-03-01T10:01:05.000Z',
  error: { code: 'HF_COMPONENT_FAILED', message: 'no disk' },
});

describe('node manager: steps of a job', () => {
  it('runs by cron from its declaration on, and keeps what became of each run', () => {
    const job = jobOf({ cron: '* * * * *' });
    assert.equal(job.step().nextMs, at('10:01:00'));
    assert.equal(job.demand(), null);
    job.step({ nowMs: at('10:01:00') });
    assert.deepEqual(job.demand(), {
      instanceId: 'report',
      slot: 'r1-1',
      request: {
        number: 1,
        runId: 'r1',
        attempt: 1,
        scheduledAt: '2026-03-01T10:01:00.000Z',
        timeoutMs: 3_600_000,
      },
      begun: false,
    });
    job.step({ seen: [run()] });
    assert.equal(job.demand()?.begun, true);
    job.step({ seen: [run({ status: succeeded })] });
    assert.equal(job.demand(), null);
    assert.deepEqual(job.note.history, [
      {
        runId: 'r1',
        attempt: 1,
        scheduledAt: '2026-03-01T10:01:00.000Z',
        trigger: { kind: 'cron' },
        startedAt: '2026-03-01T10:01:00.000Z',
        endedAt: '2026-03-01T10:01:05.000Z',
        node: 'node-1',
        processId: 'p1',
        outcome: 'succeeded',
        result: '{"rows":3}',
        error: null,
        fence: '7',
      },
    ]);
    job.step({ nowMs: at('10:02:00'), seen: [run({ status: succeeded })] });
    assert.equal(job.demand()?.slot, 'r2-1');
  });

  it('runs once for each declaration: again when what it runs has changed, and never for nothing', () => {
    const job = jobOf({});
    job.step({ revisionId: null });
    assert.equal(job.demand(), null);
    job.step({ revisionId: 'abc' });
    assert.equal(job.demand()?.slot, 'r1-1');
    job.step({ seen: [run({ status: succeeded })] });
    job.step({ revisionId: null });
    job.step({ revisionId: 'abc' });
    assert.equal(job.demand(), null);
    job.step({ revisionId: 'def', seen: [] });
    assert.equal(job.demand()?.slot, 'r2-1');
  });

  it('tries again after failures, with pauses that grow, as often as the settings say', () => {
    const job = jobOf({ retries: 2 });
    job.step();
    job.step({ seen: [run({ status: failed })] });
    assert.deepEqual([job.note.active?.attempt, job.demand()], [2, null]);
    assert.equal(job.step().nextMs, job.facts.nowMs + 1_000);
    job.step({ nowMs: job.facts.nowMs + 1_000 });
    assert.deepEqual(job.demand()?.request.attempt, 2);
    job.step({ seen: [run({ slot: 'r1-2', status: failed })] });
    assert.equal(job.step().nextMs, job.facts.nowMs + 2_000);
    job.step({ nowMs: job.facts.nowMs + 2_000 });
    job.step({ seen: [run({ slot: 'r1-3', status: failed })] });
    assert.equal(job.note.active, null);
    assert.deepEqual(
      job.note.history.map(({ runId, attempt, outcome, error }) => [runId, attempt, outcome, error?.message]),
      [3, 2, 1].map(attempt => ['r1', attempt, 'failed', 'no disk']),
    );
  });

  it('waits for a silent node, and calls the run lost when the node is given up', () => {
    const job = jobOf({ cron: '0 * * * *', retries: 1 });
    job.note = begin(
      emptyJob,
      { scheduledAt: '2026-03-01T10:00:00.000Z', trigger: { kind: 'cron' } },
      job.facts,
    );
    job.step({ seen: [run()] });
    job.step({ nodeState: () => 'suspect' });
    job.step({ seen: [] });
    assert.equal(job.demand()?.slot, 'r1-1');
    job.step({ nodeState: () => 'unknown' });
    assert.equal(job.demand()?.slot, 'r1-1');
    job.step({ nodeState: () => 'dead' });
    const [record] = job.note.history;
    assert.deepEqual([record?.outcome, record?.error?.code], ['lost', 'HF_NODE_UNREACHABLE']);
    assert.equal(job.note.active?.attempt, 2);
  });

  it('tells a process that ended in the middle from one that is gone without a trace', () => {
    const job = jobOf({ retries: 1 });
    job.step();
    job.step({ seen: [run({ ended: 'killed by SIGKILL' })] });
    assert.match(
      job.note.history[0]?.error?.message ?? '',
      /on node-1 ended in the middle: killed by SIGKILL/,
    );
    job.step({ nowMs: job.facts.nowMs + 1_000, seen: [run({ slot: 'r1-2' })] });
    job.step({ seen: [] });
    assert.match(job.note.history[0]?.error?.message ?? '', /its process on node-1 is gone/);
    assert.equal(job.note.active, null);
  });

  it('counts a start that can never succeed as a failed try', () => {
    const job = jobOf({});
    job.step();
    job.step({ failure: { code: 'HF_START_FAILED', message: 'lacks the method run' } });
    assert.deepEqual(job.note.history[0]?.error, {
      code: 'HF_START_FAILED',
      message: 'lacks the method run',
    });
    assert.equal(job.note.active, null);
  });

  it('believes the process that ran, where one attempt was started twice', () => {
    const job = jobOf({});
    job.step();
    const stale = status({
      state: 'failed',
      endedAt: 'x',
      error: { code: 'HF_JOB_STALE', message: 'twice' },
    });
    job.step({ seen: [run({ processId: 'p0', node: 'node-2', status: stale }), run()] });
    assert.equal(job.note.active?.seen?.processId, 'p1');
    job.step({ seen: [run({ processId: 'p0', node: 'node-2', status: stale }), run({ status: succeeded })] });
    assert.equal(job.note.history[0]?.outcome, 'succeeded');
  });

  it('ends what its host did not end in time', () => {
    const job = jobOf({ timeoutMs: 60_000 });
    job.step();
    job.step({ seen: [run({ seenForMs: 120_000 })] });
    assert.equal(job.note.history.length, 0);
    job.step({ seen: [run({ seenForMs: 120_001 })] });
    assert.equal(job.note.history[0]?.error?.code, 'HF_JOB_TIMEOUT');
  });

  for (const misfire of ['once', 'skip'] as const) {
    it(`deals with times that passed while nobody led, or a run was under way: ${misfire}`, () => {
      const job = jobOf({ cron: '*/10 * * * *', misfire });
      job.step();
      job.step({ nowMs: at('12:05:00') });
      const expected = misfire === 'once' ? '2026-03-01T12:00:00.000Z' : undefined;
      assert.equal(job.demand()?.request.scheduledAt, expected);
      assert.equal(job.note.skipped, misfire === 'once' ? 11 : 12);
      job.step({ nowMs: at('12:10:10') }); // late, but no more than a busy machine is
      const { slot } = { slot: 'r1-1', ...job.demand() };
      assert.equal(slot, 'r1-1');
      job.step({ nowMs: at('12:20:00'), seen: [run()] });
      job.step({ nowMs: at('12:25:00'), seen: [run({ status: succeeded })] });
      assert.equal(
        job.demand()?.request.scheduledAt,
        misfire === 'once' ? '2026-03-01T12:20:00.000Z' : undefined,
      );
    });
  }

  it('runs no time twice when the clock is put back, and none too many when it was wrong', () => {
    const job = jobOf({ cron: '0 * * * *' });
    job.step();
    job.step({ nowMs: at('11:00:00') });
    job.step({ seen: [run({ status: succeeded })] });
    for (const nowMs of [at('10:30:00'), at('10:59:59'), at('11:00:00'), at('11:00:01')]) job.step({ nowMs });
    assert.equal(job.note.runs, 1);
    job.step({ nowMs: at('12:00:00') });
    assert.equal(job.note.runs, 2);
    job.step({ nowMs: at('12:00:00') + 400 * 86_400_000, seen: [run({ slot: 'r2-1', status: succeeded })] });
    assert.equal(job.note.runs, 3);
    job.step({ nowMs: at('12:30:00'), seen: [run({ slot: 'r3-1', status: succeeded })] });
    job.step({ nowMs: at('13:00:00') });
    assert.equal(job.note.runs, 4);
  });

  it('keeps to the clocks of its time zone', () => {
    const job = jobOf({ cron: '30 2 * * *', timeZone: 'Europe/Berlin' });
    const runs: string[] = [];
    for (
      let nowMs = Date.parse('2026-03-27T00:10:00Z');
      nowMs < Date.parse('2026-03-31T00:00:00Z');
      nowMs += 600_000
    ) {
      job.step({ nowMs, seen: [] });
      if (job.demand()) runs.push(job.demand()!.request.scheduledAt);
      job.note = { ...job.note, active: null };
    }
    assert.deepEqual(runs, [
      '2026-03-27T01:30:00.000Z',
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z', // 02:30 does not exist: the first moment after the gap
      '2026-03-30T00:30:00.000Z',
    ]);
  });

  it('cancels the run under way, and forgets the oldest of a history that is full', () => {
    const job = jobOf({ cron: '0 * * * *', historyMax: 2 });
    for (const by of ['a', 'b', 'c']) {
      const trigger = { kind: 'operator', by } as const;
      job.note = begin(job.note, { scheduledAt: '2026-03-01T10:00:00.000Z', trigger }, job.facts);
      job.note = cancel(job.note, `api: ${by}`, job.facts);
    }
    assert.deepEqual(
      job.note.history.map(record => [record.runId, record.outcome, record.error?.message]),
      [
        ['r3', 'cancelled', 'api: c cancelled it'],
        ['r2', 'cancelled', 'api: b cancelled it'],
      ],
    );
    const large = { ...run({ status: { ...succeeded, result: 'x'.repeat(4_000) } }) };
    const many = jobOf({ historyMax: 1_000 });
    for (let number = 1; number <= 200; number++) {
      many.note = begin(many.note, { scheduledAt: 'x', trigger: { kind: 'once' } }, many.facts);
      many.step({ seen: [{ ...large, slot: `r${number}-1` }], revisionId: null });
    }
    assert.ok(many.note.history.length > 100 && JSON.stringify(many.note).length < 600_000);
  });

  it('goes on counting above what hosts have begun, whatever its note says', () => {
    const job = jobOf({});
    job.step({ begunNumber: 41 });
    assert.equal(job.demand()?.slot, 'r42-1');
  });
});
