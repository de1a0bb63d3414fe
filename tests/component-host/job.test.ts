import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '#component-host';
import type { HostConfiguration, JobRunRequest, JobRunStatus, Json } from '#core';
import { configuration, eventually, openWorkspace, type Workspace } from './workspace.ts';

const request: JobRunRequest = {
  number: 1,
  runId: 'r1',
  scheduledAt: '2026-01-02T03:04:05.000Z',
  attempt: 1,
  timeoutMs: 60_000,
};

describe('component host: jobs', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  beforeEach(async () => {
    workspace = await openWorkspace();
  });
  afterEach(() => workspace.close());

  async function begin(
    settings: { [name: string]: Json },
    job: Partial<JobRunRequest> = {},
    change: Partial<HostConfiguration> = {},
  ): Promise<Host> {
    const host = await workspace.host();
    const all = { journal: workspace.journal, ...settings };
    await host.configure(configuration('runner', all, { job: { ...request, ...job }, ...change }));
    assert.equal(host.status().job?.state, 'waiting');
    await host.start();
    return host;
  }
  const ended = (host: Host): Promise<JobRunStatus> =>
    eventually(() => {
      const { job } = host.status();
      return job?.endedAt ? job : null;
    }, 'the end of the run');
  const running = (host: Host) => eventually(() => host.status().job?.state === 'running', 'the run');
  const fences = () =>
    workspace.lines().flatMap(line => /^run .* (\d+)$/.exec(line)?.slice(1).map(BigInt) ?? []);

  it('runs once with what it has to know, keeps the result, and goes on until it is stopped', async () => {
    const host = await begin({ does: 'return', value: { rows: 3 } });
    const status = await ended(host);
    assert.deepEqual(
      { ...status, startedAt: null, endedAt: null, fence: null },
      {
        runId: 'r1',
        state: 'succeeded',
        result: '{"rows":3}',
        error: null,
        startedAt: null,
        endedAt: null,
        fence: null,
      },
    );
    assert.equal(workspace.lines()[1], `run r1 1 2026-01-02T03:04:05.000Z ${status.fence}`);
    assert.equal(host.status().state, 'Started');
    await host.stop();
    await host.start();
    assert.deepEqual(host.status().job, status);
    assert.equal(fences().length, 1);
  });

  it('tells of a failure with its code, and of a result that cannot be kept without failing', async () => {
    const failed = await ended(await begin({ does: 'fail' }));
    assert.deepEqual(
      [failed.state, failed.error],
      ['failed', { code: 'HF_NOT_FOUND', message: 'no such month' }],
    );
    const large = await ended(await begin({ does: 'return', value: 'x'.repeat(4_096) }, { number: 2 }));
    assert.deepEqual([large.state, large.result, large.error?.code], ['succeeded', null, 'HF_JOB_RESULT']);
    assert.match(large.error?.message ?? '', /4098 bytes of JSON, of at most 4096/);
  });

  it('stops a run whose time is over, and calls that a failure although it ended', async () => {
    const status = await ended(await begin({ does: 'wait' }, { timeoutMs: 1_000 }));
    assert.deepEqual([status.state, status.error?.code], ['failed', 'HF_JOB_TIMEOUT']);
    assert.ok(workspace.lines().includes('aborted HF_JOB_TIMEOUT'));
  });

  it('lets one run go on at a time, each with a higher fence', async () => {
    const file = join(workspace.directory, 'go');
    const first = await begin({ does: 'wait', until: file });
    await running(first);
    const second = await begin({ does: 'return' }, { number: 2, runId: 'r2' });
    assert.equal(second.status().job?.state, 'waiting');
    assert.equal(fences().length, 1);
    await writeFile(file, '');
    assert.equal((await ended(first)).state, 'succeeded');
    assert.equal((await ended(second)).state, 'succeeded');
    const [one, two] = fences();
    assert.ok(one! < two!, `${one} < ${two}`);
  });

  it('aborts a run whose lease is lost, and calls it lost', async () => {
    const host = await begin({ does: 'wait' }, {}, { sessionTtlMs: 1_000 });
    await running(host);
    const fence = BigInt(host.status().job!.fence!);
    const { leases } = workspace.coordination;
    const holder = (await leases.inspect('jobs/pool'))!.holder;
    assert.ok(await leases.release('jobs/pool', holder, fence));
    const status = await ended(host);
    assert.deepEqual([status.state, status.error?.code], ['lost', 'HF_LEASE_LOST']);
    assert.ok(workspace.lines().includes('aborted HF_LEASE_LOST'));
  });

  it('tells a run to stop when its host stops, before the component is stopped', async () => {
    const host = await begin({ does: 'wait' });
    await running(host);
    await host.stop();
    assert.deepEqual(host.status().job?.error?.code, 'HF_JOB_CANCELLED');
    assert.deepEqual(workspace.lines().slice(-2), ['aborted HF_JOB_CANCELLED', 'stop']);
    assert.equal(await workspace.coordination.leases.inspect('jobs/pool'), null);
  });

  it('stops one that waits for its turn without running it', async () => {
    await running(await begin({ does: 'wait' }));
    const second = await begin({ does: 'return' }, { number: 2, runId: 'r2' });
    await second.stop();
    assert.equal(second.status().job?.error?.code, 'HF_JOB_CANCELLED');
    assert.equal(fences().length, 1);
  });

  it('begins no run twice, and none that is older than one that was begun', async () => {
    assert.equal(
      (await ended(await begin({ does: 'return' }, { number: 7, attempt: 2 }))).state,
      'succeeded',
    );
    for (const old of [
      { number: 7, attempt: 2 },
      { number: 7, attempt: 1 },
      { number: 6, attempt: 3 },
    ]) {
      const status = await ended(await begin({ does: 'return' }, old));
      assert.deepEqual(
        [status.state, status.error?.code, status.startedAt],
        ['failed', 'HF_JOB_STALE', null],
      );
    }
    assert.equal(
      (await ended(await begin({ does: 'return' }, { number: 7, attempt: 3 }))).state,
      'succeeded',
    );
    assert.equal(fences().length, 2);
  });

  it('refuses to start a job whose component cannot run, and runs none that is no job', async () => {
    const lacking = await workspace.host();
    await lacking.configure(configuration('echo', {}, { job: request }));
    await assert.rejects(lacking.start(), {
      code: 'HF_START_FAILED',
      message: 'what echo, configured as a job, created lacks the method run',
    });
    const plain = await workspace.host();
    await plain.configure(configuration('runner', { journal: workspace.journal, does: 'return' }));
    await plain.start();
    await plain.stop();
    assert.equal(plain.status().job, undefined);
    assert.deepEqual(workspace.lines(), ['start', 'stop']);
  });

  it('owns no keys, whatever its component could open', async () => {
    await begin({ does: 'wait' });
    const [session] = await workspace.coordination.directory.sessions();
    assert.equal(session?.ownsResources, false);
  });
});
