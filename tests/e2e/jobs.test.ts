/**
 * A job that is due every second on a real cluster, while its hosts and the manager are killed. What it writes shows whether two runs were
 * ever at work: fences in the order of the lines never go down.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobDetail, ProcessInfo } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { makePackage } from '../support/make-package.ts';

const ticker = makePackage(
  {
    packageName: 'ticker',
    packageVersion: '1.0.0',
    kind: 'component',
    contentRoot: 'content',
    main: 'index.js',
  },
  {
    'content/index.js': `
      import { appendFileSync } from 'node:fs';
      import { setTimeout as sleep } from 'node:timers/promises';
      export default function create(context) {
        return {
          async start() {},
          async stop() {},
          async run(run, signal) {
            for (let beat = 1; beat <= 6; beat++) {
              run.assertCurrent();
              appendFileSync(context.settings.file, [run.runId, run.attempt, run.fence, beat, context.nodeName].join(' ') + '\\n');
              await sleep(50, undefined, { signal });
            }
            return { beats: 6 };
          },
        };
      }`,
  },
);

interface Beat {
  runId: string;
  attempt: number;
  fence: bigint;
  beat: number;
}

describe('a job by cron while hosts and managers are killed', function () {
  this.timeout(180_000);
  let cluster: Cluster;
  let file: string;
  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      edit: document => void (document.componentInstances.splice(1, 1), (document.routes = [])),
    });
    file = join(cluster.directory, 'beats');
    const response = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(ticker),
    });
    assert.equal(response.status, 201, await response.text());
    await cluster.editSettings(document => {
      document.componentInstances.push({
        id: 'ticks',
        packageName: 'ticker',
        settings: { file },
        restart: { backoffMs: 50 },
        job: { cron: '* * * * * *', retries: 1, historyMax: 1_000 },
      });
    });
  });
  after(() => cluster?.dispose());

  const beats = (): Beat[] =>
    existsSync(file)
      ? readFileSync(file, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map(line => line.split(' '))
          .map(([runId, attempt, fence, beat]) => ({
            runId: runId!,
            attempt: Number(attempt),
            fence: BigInt(fence!),
            beat: Number(beat),
          }))
      : [];
  const runs = () => beats().filter(({ beat }) => beat === 1);
  const begun = (count: number) =>
    until(`${count} runs have begun`, async () => runs().length >= count, 90_000);

  async function kill(instanceId: string): Promise<void> {
    const found = await until(`a process of ${instanceId}`, async () =>
      (await cluster.processes()).find(
        ({ component, packageName, state, pid }) =>
          (component?.instanceId === instanceId || packageName === instanceId) &&
          state === 'Running' &&
          pid !== null,
      ),
    );
    process.kill((found satisfies ProcessInfo).pid!, 'SIGKILL');
  }

  /** Kills the host of a run that is at work. */
  async function killRun(): Promise<void> {
    const before = beats().length;
    await until('a run that is at work', async () => {
      const last = beats().at(-1);
      return beats().length > before && last !== undefined && last.beat < 4;
    });
    await kill('ticks');
  }

  async function job(): Promise<JobDetail> {
    const response = await cluster.master('/api/master/jobs/ticks');
    assert.equal(response.status, 200);
    return (await response.json()) as JobDetail;
  }

  it('never has two runs at work, begins none twice, and keeps each in its history', async () => {
    await begun(2);
    await killRun();
    await begun(runs().length + 2);
    await kill('node-manager');
    await begun(runs().length + 2);
    await killRun();
    await kill('node-manager');
    await begun(runs().length + 3);
    // Nothing more becomes due; what is under way ends.
    await cluster.editSettings(document => {
      document.componentInstances.find(({ id }) => id === 'ticks')!.job = {
        cron: '0 0 1 1 *',
        historyMax: 1_000,
      };
    });
    const { history } = await until('the end of the last run', async () => {
      const found = await job().catch(() => null);
      return found?.cron === '0 0 1 1 *' && !found.active && found.pendingSince === null && found;
    });

    const fences = beats().map(({ fence }) => fence);
    assert.deepEqual(
      fences,
      fences.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
      'an older run wrote after a newer one',
    );
    const started = runs();
    assert.equal(new Set(started.map(({ fence }) => fence)).size, started.length);
    assert.equal(
      new Set(started.map(({ runId, attempt }) => `${runId} ${attempt}`)).size,
      started.length,
      'begun twice',
    );
    for (const { runId, attempt, fence } of started) {
      const record = history.find(one => one.runId === runId && one.attempt === attempt);
      assert.ok(record, `run ${runId}, attempt ${attempt}, is in the history`);
      assert.equal(record.fence ?? String(fence), String(fence));
      const complete = beats().some(one => one.fence === fence && one.beat === 6);
      if (record.outcome === 'succeeded') assert.ok(complete);
      else assert.equal(record.outcome, 'lost', JSON.stringify(record));
    }
    const due = history.map(({ runId, scheduledAt }) => `${scheduledAt} ${runId}`);
    assert.equal(
      new Set(history.map(({ scheduledAt }) => scheduledAt)).size,
      new Set(due).size,
      'a time came to two runs',
    );
    assert.ok(history.some(({ outcome }) => outcome === 'lost'));
    assert.ok(history.some(({ attempt, outcome }) => attempt === 2 && outcome === 'succeeded'));
  });

  it('leaves no process of it behind', async () => {
    await until('no process of the job', async () =>
      (await cluster.processes()).every(({ component }) => component?.instanceId !== 'ticks'),
    );
  });
});
