import assert from 'node:assert/strict';
import { isoTime, createSystem, type JobRunStatus, type ProcessInfo, type StartProcessRequest } from '#core';
import { until } from '../../support/wait.ts';
import { zipOf } from '../fake-node.ts';
import { createCluster, type Cluster, type RunningManager } from '../running-manager.ts';

const { clock } = createSystem();

describe('node manager: jobs', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  let running: RunningManager;
  /** Every run that a node was asked to start, in order. */
  let started: { node: string; request: StartProcessRequest }[];

  async function begin(job: object): Promise<void> {
    cluster = await createCluster(2, {
      componentInstances: [{ id: 'report', packageName: 'report', job }],
    });
    started = [];
    for (const node of cluster.nodes) {
      node.onStart = (_name, request, process) => {
        started.push({ node: node.name, request });
        process.job = statusOf(request.job!.runId, {
          state: 'running',
          startedAt: isoTime(clock),
          fence: '7',
        });
      };
    }
    running = await cluster.start();
    await running.client.uploadPackage(zipOf('report', '1.0.0'), { makeCurrent: false });
  }
  afterEach(() => cluster.stop());

  const waitFor = <Value>(
    probe: () => Value | null | undefined | false | Promise<Value | null | undefined | false>,
    what: string,
  ) => until(what, async () => probe());

  const statusOf = (runId: string, change: Partial<JobRunStatus>): JobRunStatus => ({
    runId,
    state: 'waiting',
    fence: null,
    startedAt: null,
    endedAt: null,
    result: null,
    error: null,
    ...change,
  });
  const processes = (): (ProcessInfo & { on: number })[] =>
    cluster.nodes.flatMap((node, on) => node.processes.map(process => ({ ...process, on })));
  const runOf = (slot: string) =>
    waitFor(() => processes().find(one => one.settingsId?.startsWith(`report/${slot}/`)), `the run ${slot}`);
  function end({ on, processId, job }: ProcessInfo & { on: number }, change: Partial<JobRunStatus>): void {
    const status = { ...job!, endedAt: isoTime(clock), ...change };
    cluster.nodes[on]!.change(processId, { job: status });
  }

  it('runs a job once, records what came of it, and then stops its process', async () => {
    await begin({});
    const run = await runOf('r1-1');
    assert.deepEqual(
      { ...started[0]!.request.job, scheduledAt: null },
      { number: 1, runId: 'r1', attempt: 1, scheduledAt: null, timeoutMs: 3_600_000 },
    );
    const active = await waitFor(async () => {
      const [job] = await running.client.jobs();
      return job?.active?.state === 'running' ? job.active : null;
    }, 'a running job');
    assert.deepEqual([active.runId, active.processId, active.fence], ['r1', run.processId, '7']);
    end(run, { state: 'succeeded', result: '{"rows":3}' });
    await waitFor(() => processes().length === 0, 'the end of its process');
    const job = await running.client.job('report');
    assert.deepEqual([job.active, job.nextAt, job.history.length], [null, null, 1]);
    const [record] = job.history;
    assert.deepEqual(
      [record?.runId, record?.outcome, record?.result, record?.trigger, record?.processId],
      ['r1', 'succeeded', '{"rows":3}', { kind: 'once' }, run.processId],
    );
    await running.client.sync();
    assert.equal(started.length, 1);
    const plan = await running.client.plan();
    assert.deepEqual(plan.actions, []);
    const { instances } = await running.client.status();
    assert.deepEqual(instances.find(({ id }) => id === 'report')?.problems, []);
  });

  it('runs by cron, again and again, and shows when it is due next', async () => {
    await begin({ cron: '* * * * * *' });
    for (const number of [1, 2, 3]) end(await runOf(`r${number}-1`), { state: 'succeeded' });
    const job = await waitFor(async () => {
      const found = await running.client.job('report');
      return found.history.length >= 3 ? found : null;
    }, 'three records');
    const due = job.history.map(record => record.scheduledAt);
    assert.equal(new Set(due).size, due.length);
    assert.ok(due.every(at => at.endsWith('.000Z')));
    assert.equal(job.next.length, 5);
    const metrics = await fetch(`${running.client.uri}/metrics`, {
      headers: { authorization: 'Bearer a-secret-of-the-test-cluster' },
    });
    assert.match(
      await metrics.text(),
      /holdfast_job_attempts_total\{job="report",outcome="succeeded"\} [1-9]/,
    );
  });

  it('is run and cancelled by hand, one run at a time', async () => {
    await begin({ cron: '0 0 1 1 *' });
    const { active } = await running.client.runJob('report');
    assert.deepEqual([active?.runId, active?.trigger.kind, active?.state], ['r1', 'operator', 'starting']);
    await assert.rejects(running.client.runJob('report'), { code: 'HF_JOB_RUNNING' });
    await runOf('r1-1');
    const cancelled = await running.client.cancelJob('report');
    assert.deepEqual([cancelled.active, cancelled.last?.outcome], [null, 'cancelled']);
    await waitFor(() => processes().length === 0, 'the end of its process');
    await assert.rejects(running.client.cancelJob('report'), { code: 'HF_WRONG_STATE' });
    await assert.rejects(running.client.job('other'), { code: 'HF_NOT_FOUND' });
  });

  it('goes on under another manager: nothing is begun twice, and the outcome is not lost', async () => {
    await begin({ retries: 1 });
    const run = await runOf('r1-1');
    const second = await cluster.start({ processId: 'manager-2', withFile: false });
    const standby = await waitFor(async () => {
      const { active } = await second.client.job('report');
      return active?.state === 'running' && active;
    }, 'the one that stands by tells of it');
    assert.equal(standby.processId, run.processId);
    await running.stop();
    end(run, { state: 'failed', error: { code: 'HF_COMPONENT_FAILED', message: 'no disk' } });
    await waitFor(() => started.length === 2, 'the second try');
    const retry = await runOf('r1-2');
    end(retry, { state: 'succeeded' });
    const job = await waitFor(async () => {
      const found = await second.client.job('report');
      return found.history.length === 2 ? found : null;
    }, 'both records');
    assert.deepEqual(
      job.history.map(record => [record.attempt, record.outcome]),
      [
        [2, 'succeeded'],
        [1, 'failed'],
      ],
    );
    assert.equal(started.length, 2);
  });

  it('waits for a node that is silent, and tries again elsewhere when it is given up', async () => {
    await begin({ retries: 1 });
    const run = await runOf('r1-1');
    await waitFor(
      async () => (await running.client.job('report')).active?.processId === run.processId,
      'it is seen',
    );
    await cluster.nodes[run.on]!.close();
    const retry = await runOf('r1-2');
    assert.notEqual(retry.on, run.on);
    const { history } = await running.client.job('report');
    assert.deepEqual([history[0]?.outcome, history[0]?.error?.code], ['lost', 'HF_NODE_UNREACHABLE']);
    // It comes back with what it ran: that is not demanded any more, and is stopped.
    await cluster.nodes[run.on]!.listen();
    await waitFor(
      () => processes().every(one => one.processId !== run.processId),
      'the end of the old process',
    );
    assert.equal(started.length, 2);
  });

  it('counts a start that is refused again and again as a failed try', async () => {
    await begin({ cron: '0 0 1 1 *' });
    const { HoldfastError } = await import('#core');
    for (const node of cluster.nodes) {
      node.onStart = () => {
        throw new HoldfastError('HF_START_FAILED', 'lacks the method run');
      };
    }
    await running.client.runJob('report');
    const record = await waitFor(async () => (await running.client.job('report')).history[0], 'its record');
    assert.deepEqual(
      [record.outcome, record.error?.code, record.startedAt],
      ['failed', 'HF_START_FAILED', null],
    );
  });
});
