/**
 * Random cluster lives against the steps of one job: managers that change, act on old notes, clocks that jump, nodes that fall silent, die
 * and come back with what they ran, processes that end in every way, operators. Hosts are made up, but keep the two rules of the real ones:
 * one run at a time by lease, and none that is not newer than what was begun.
 */
import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { cronTimes, fillInstance, type JobRunStatus, type NodeReachability } from '#core';
import {
  demandOf,
  emptyJob,
  type JobDemand,
  type JobFacts,
  type JobNote,
  type SeenRun,
} from '../../../node-manager/jobs/model.ts';
import { begin, cancel, stepJob } from '../../../node-manager/jobs/step.ts';

type Operation =
  | { does: 'pass'; ms: number }
  | { does: 'jump'; ms: number }
  | { does: 'step' }
  | { does: 'step on an old note'; age: number }
  | { does: 'start'; node: number }
  | { does: 'end'; how: 'succeeded' | 'failed' | 'crashed' | 'vanished'; which: number }
  | { does: 'silence' | 'bury' | 'revive'; node: number }
  | { does: 'run' | 'cancel' };

interface Process {
  demand: JobDemand;
  node: number;
  processId: string;
  status: JobRunStatus;
  ended: string | null;
}

const nodes = 3;
const cron = '*/5 * * * *';
const times = cronTimes(cron, 'UTC');

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 400_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('jump' as const),
      ms: fc.integer({ min: -7_200_000, max: 7_200_000 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ does: fc.constant('step' as const) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('step on an old note' as const), age: fc.nat(5) }) },
  { weight: 6, arbitrary: fc.record({ does: fc.constant('start' as const), node: fc.nat(nodes - 1) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant('end' as const),
      how: fc.constantFrom('succeeded', 'failed', 'crashed', 'vanished'),
      which: fc.nat(5),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constantFrom('silence', 'bury', 'revive'), node: fc.nat(nodes - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constantFrom('run', 'cancel') }) },
);

class World {
  readonly instance;
  nowMs = Date.parse('2026-03-01T10:00:30Z');
  note: JobNote = emptyJob;
  /** Older contents, newest last. */
  readonly past: JobNote[] = [];
  readonly states: NodeReachability[] = Array.from({ length: nodes }, () => 'ready');
  processes: Process[] = [];
  marker = { number: 0, attempt: 0 };
  /** What was run, in order. */
  readonly begun: JobDemand[] = [];
  #count = 0;

  constructor(misfire: 'skip' | 'once', retries: number) {
    this.instance = fillInstance({
      id: 'job',
      packageName: 'job',
      job: { cron, misfire, retries, historyMax: 1_000 },
      restart: { backoffMs: 10_000 },
    });
  }

  facts(): JobFacts {
    return {
      instance: this.instance,
      revisionId: 'abc',
      nowMs: this.nowMs,
      seen: this.processes
        .filter(process => this.states[process.node] !== 'dead')
        .map(({ demand, node, processId, status, ended }): SeenRun => ({
          slot: demand.slot,
          node: String(node),
          processId,
          status,
          ended,
          seenForMs: 0,
        })),
      nodeState: name => this.states[Number(name)]!,
      failure: null,
      begunNumber: 0,
    };
  }

  step(from = this.note): void {
    const stale = from !== this.note;
    const before = this.note;
    const { note } = stepJob(JSON.parse(JSON.stringify(from)) as JobNote, this.facts());
    if (stale) return; // the store refuses what was made of an old content
    this.write(note);
    const [ended] = note.history;
    const silent = before.active?.seen && this.states[Number(before.active.seen.node)] === 'suspect';
    const tellsNothing = !this.facts().seen.some(
      run => run.processId === before.active?.seen?.processId && (run.ended ?? run.status?.endedAt),
    );
    if (silent && tellsNothing && note.history.length > before.history.length)
      assert.notEqual(ended!.processId, before.active!.seen!.processId, 'a silent node is waited for');
  }

  write(note: JobNote): void {
    this.past.push(this.note);
    this.note = note;
  }

  demand(): JobDemand | null {
    return demandOf('job', this.note, this.nowMs);
  }

  start(node: number): void {
    const demand = this.demand();
    if (!demand || this.states[node] !== 'ready') return;
    if (this.processes.some(one => one.node === node && one.demand.slot === demand.slot)) return;
    this.processes.push({
      demand,
      node,
      processId: `p${++this.#count}`,
      status: {
        runId: demand.request.runId,
        state: 'waiting',
        fence: null,
        startedAt: null,
        endedAt: null,
        result: null,
        error: null,
      },
      ended: null,
    });
    this.hosts();
  }

  /** The lease goes to whoever waits; a host that has it looks whether its run is a newer one. */
  hosts(): void {
    const lives = (one: Process) => one.ended === null && one.status.endedAt === null;
    for (const process of this.processes.filter(lives)) {
      if (this.processes.some(one => lives(one) && one.status.state === 'running')) return;
      const { number, attempt } = process.demand.request;
      if (number - this.marker.number || attempt - this.marker.attempt) {
        if (number < this.marker.number || (number === this.marker.number && attempt < this.marker.attempt)) {
          this.end(process, 'failed', 'HF_JOB_STALE');
          continue;
        }
        this.marker = { number, attempt };
        this.begun.push(process.demand);
        process.status = {
          ...process.status,
          state: 'running',
          startedAt: 'then',
          fence: String(this.begun.length),
        };
      } else this.end(process, 'failed', 'HF_JOB_STALE');
    }
  }

  end(process: Process, how: 'succeeded' | 'failed', code = 'HF_COMPONENT_FAILED'): void {
    const error = how === 'failed' ? { code, message: 'it failed' } : null;
    process.status = { ...process.status, state: how, endedAt: new Date(this.nowMs).toISOString(), error };
  }

  do(operation: Operation): void {
    switch (operation.does) {
      case 'pass':
      case 'jump':
        this.nowMs += operation.ms;
        return;
      case 'step':
        return this.step();
      case 'step on an old note':
        return this.step(this.past.at(-1 - operation.age) ?? this.note);
      case 'start':
        return this.start(operation.node);
      case 'end': {
        const running = this.processes.filter(one => one.ended === null && one.status.state === 'running');
        const process = running[operation.which % (running.length || 1)];
        if (!process) return;
        if (operation.how === 'crashed') process.ended = 'killed';
        else if (operation.how === 'vanished') this.processes = this.processes.filter(one => one !== process);
        else this.end(process, operation.how);
        return this.hosts();
      }
      case 'silence':
        if (this.states[operation.node] === 'ready') this.states[operation.node] = 'suspect';
        return;
      case 'bury':
        if (this.states[operation.node] === 'suspect') this.states[operation.node] = 'dead';
        return;
      case 'revive':
        this.states[operation.node] = 'ready';
        return;
      case 'run':
        if (!this.note.active)
          this.write(
            begin(
              this.note,
              { scheduledAt: new Date(this.nowMs).toISOString(), trigger: { kind: 'operator', by: 'me' } },
              this.facts(),
            ),
          );
        return;
      case 'cancel':
        return this.write(cancel(this.note, 'me', this.facts()));
    }
  }

  /** What the plan does besides: processes that nobody demands are stopped, and everything goes well from now on. */
  settle(): void {
    this.states.fill('ready');
    for (let turn = 0; turn < 200; turn++) {
      this.step();
      const slot = this.demand()?.slot;
      this.processes = this.processes.filter(process => process.demand.slot === slot);
      this.hosts();
      this.start(0);
      const running = this.processes.find(process => process.status.state === 'running');
      if (running) this.end(running, 'succeeded');
      if (!this.note.active && !this.note.pending) return;
      this.nowMs += 10_001; // pauses pass
    }
    assert.fail('it does not settle');
  }
}

describe('node manager: lives of a job', () => {
  for (const misfire of ['skip', 'once'] as const) {
    it(`neither doubles nor loses a time, whatever happens to managers, clocks, nodes and processes: ${misfire}`, () => {
      fc.assert(
        fc.property(
          fc.nat(2),
          fc.array(operation, { maxLength: 120, size: 'max' }),
          (retries, operations) => {
            const world = new World(misfire, retries);
            world.step();
            for (const one of operations) world.do(one);
            world.settle();
            check(world, retries);
            if (misfire === 'once') checkNothingLost(world);
          },
        ),
        { numRuns: 150 },
      );
    });
  }
});

function check(world: World, retries: number): void {
  const { history } = world.note;
  const runs = new Map<string, string>();
  for (const { runId, attempt, scheduledAt, trigger } of history) {
    assert.ok(attempt <= retries + 1, `${runId} was tried ${attempt} times`);
    if (trigger.kind !== 'cron') continue;
    const dueMs = Date.parse(scheduledAt);
    assert.equal(times.latest(dueMs), dueMs, `${scheduledAt} is one of its times`);
    assert.equal(runs.get(scheduledAt) ?? runId, runId, `${scheduledAt} came twice`);
    runs.set(scheduledAt, runId);
  }
  const order = history.map(({ runId, attempt }) => Number(runId.slice(1)) * 1_000 + attempt);
  assert.deepEqual(
    order,
    order.toSorted((a, b) => b - a),
  );
  assert.equal(new Set(order).size, order.length, 'an attempt ended twice');
  const begun = world.begun.map(({ request }) => request.number * 1_000 + request.attempt);
  assert.deepEqual(
    begun,
    [...new Set(begun)].toSorted((a, b) => a - b),
    'attempts begin in order, each once',
  );
}

/** The last time that has come was run, or one after it: that one stands for all before. */
function checkNothingLost({ note, nowMs }: World): void {
  const latest = times.latest(nowMs)!;
  if (latest <= Date.parse('2026-03-01T10:00:30Z')) return; // before its declaration
  const ran = note.history
    .filter(({ trigger }) => trigger.kind === 'cron')
    .map(record => Date.parse(record.scheduledAt));
  assert.ok(Math.max(...ran) >= latest, `${new Date(latest).toISOString()} was lost`);
}
