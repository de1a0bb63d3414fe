import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listenForChannels, type Channel } from '#channel';
import type { Host } from '#component-host';
import type { HostConfiguration, HostLaunch, HostStatus, InstanceId } from '#core';
import { configuration, eventually, openWorkspace, routed, type Workspace } from './workspace.ts';

const main = join(import.meta.dirname, '../../component-host/main.ts');

describe('component host process', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  let children: ChildProcess[];
  let agent: { close(): Promise<void> } | null;
  let channel: Channel;
  let hellos: { pid: number; status: HostStatus }[];
  beforeEach(async () => {
    workspace = await openWorkspace();
    [children, hellos] = [[], []];
    agent = await listenForChannels(join(workspace.directory, 'agent.sock'), opened => {
      channel = opened;
      opened.handle('hello', (params: (typeof hellos)[number]) => {
        hellos.push(params);
        return { accepted: true };
      });
      opened.handle('status', () => {});
      opened.listen();
    });
  });
  afterEach(async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    }
    await agent?.close();
    await workspace.close();
  });

  interface Running {
    child: ChildProcess;
    /** Resolves to code or signal, and what it wrote on stderr. */
    ended: Promise<{ end: number | NodeJS.Signals | null; stderr: string }>;
  }

  function spawnHost(input: string): Running {
    const child = spawn(process.execPath, [main], { stdio: ['pipe', 'inherit', 'pipe'] });
    children.push(child);
    let stderr = '';
    child.stderr!.on('data', part => (stderr += String(part)));
    const ended = once(child, 'close').then(([code, signal]) => ({
      end: (code ?? signal) as number | NodeJS.Signals | null,
      stderr,
    }));
    child.stdin!.on('error', () => {}); // it may end before it has read everything
    child.stdin!.write(input);
    return { child, ended };
  }

  /** A host that runs the fixture; `host` is enough of one to send requests to. */
  async function started(
    packageName: string,
    settings = {},
    change: Partial<HostLaunch> = {},
    given: Partial<HostConfiguration> = {},
  ): Promise<Running & { host: Host; launch: HostLaunch }> {
    const launch = workspace.launch(change);
    const running = spawnHost(`${JSON.stringify(launch)}\n`);
    await eventually(() => hellos.length > 0, 'the hello');
    await channel.request('configure', configuration(packageName, settings, given));
    await channel.request('start', null, { timeoutMs: 20_000 });
    return { ...running, launch, host: { uri: hellos[0]!.status.hostUri } as Host };
  }

  const sessions = () => workspace.coordination.directory.sessions('pool' as InstanceId);

  it('runs a component, holds no secret in view, and ends with nothing left on SIGTERM', async () => {
    const { child, ended, host, launch } = await started('echo', { journal: workspace.journal });
    assert.equal(hellos[0]!.pid, child.pid);
    assert.equal((await routed(workspace, host, '/echo', { method: 'POST', body: 'hi' })).text, 'hi');
    for (const file of ['cmdline', 'environ']) {
      const path = `/proc/${child.pid}/${file}`;
      if (!existsSync(path)) continue; // not Linux
      const text = readFileSync(path, 'latin1');
      assert.ok(!text.includes(launch.clusterSecret) && !text.includes(launch.hostSecret), file);
    }
    child.kill('SIGTERM');
    assert.deepEqual(await ended, { end: 0, stderr: '' });
    assert.deepEqual(await sessions(), []);
  });

  it('answers signs of life, and is ready when both its component and the checks of its agent say so', async () => {
    const { host } = await started('echo', {}, {}, { awaitsCheck: true });
    const health = async () => (await channel.request<HostStatus>('ping', null)).health;
    const inDirectory = (ready: boolean) =>
      eventually(async () => (await sessions())[0]?.ready === ready, `a session that is ready: ${ready}`);
    assert.deepEqual(await health(), { ready: false, message: 'its health has not been checked yet' });
    await inDirectory(false);
    await channel.request('checked', { ok: true });
    assert.deepEqual(await health(), { ready: true });
    await inDirectory(true);
    await routed(workspace, host, '/unready');
    await channel.request('checked', { ok: false, message: 'it answered 503' });
    assert.deepEqual(await health(), { ready: false, message: 'told to' });
    await channel.request('checked', { ok: true });
    assert.deepEqual(await health(), { ready: false, message: 'told to' });
    await inDirectory(false);
  });

  it('takes the next free port', async () => {
    const elsewhere = { agentSocket: join(workspace.directory, 'none.sock') };
    const first = await workspace.host({ ...elsewhere, firstPort: 21_200 });
    const port = Number(new URL(first.uri).port);
    const second = await started('echo', {}, { firstPort: port });
    const used = Number(new URL(second.host.uri).port);
    assert.ok(used > port && used < port + 1_000, `${used} after ${port}`);
  });

  it('ends although the component left something running', async () => {
    const { ended, host } = await started('echo');
    await routed(workspace, host, '/linger');
    await channel.request('shutdown', { graceMs: 2_000 });
    const { end, stderr } = await ended;
    assert.equal(end, 0);
    assert.match(stderr, /^ended with leftovers: .*Timeout/);
  });

  it('ends by itself, gracefully, when its agent is gone', async () => {
    const { ended } = await started(
      'journal-component',
      { journal: workspace.journal },
      { orphanGraceMs: 500 },
    );
    await agent?.close();
    agent = null;
    assert.deepEqual(await ended, { end: 0, stderr: '' });
    assert.deepEqual(workspace.lines(), ['component start', 'component stop']);
    assert.deepEqual(await sessions(), []);
  });

  it('ends by itself when it never finds its agent', async () => {
    const launch = workspace.launch({ orphanGraceMs: 200, agentSocket: '/nowhere/agent.sock' });
    assert.deepEqual(await spawnHost(`${JSON.stringify(launch)}\n`).ended, { end: 0, stderr: '' });
  });

  it('ends with 1 on a defect, and has said why', async () => {
    const { ended, host, launch } = await started('echo');
    await routed(workspace, host, '/leak').catch(() => {}); // the answer may or may not get out
    assert.equal((await ended).end, 1);
    const log = readFileSync(join(launch.hostDirectory, 'host.log'), 'utf8');
    assert.match(log, /unhandledRejection.*nobody listens|nobody listens.*unhandledRejection/);
  });

  const job = {
    number: 1,
    runId: 'r1',
    scheduledAt: '2026-01-02T03:04:05.000Z',
    attempt: 1,
    timeoutMs: 60_000,
  };
  const runs = () => workspace.lines().filter(line => line.startsWith('run '));

  it('runs a job again after the process that ran it was killed, with a higher fence', async () => {
    const settings = { journal: workspace.journal, does: 'wait' };
    const first = await started('runner', settings, {}, { job, sessionTtlMs: 1_000 });
    await eventually(() => runs().length === 1, 'the first run');
    first.child.kill('SIGKILL');
    await first.ended;
    hellos = [];
    await started('runner', settings, {}, { job: { ...job, attempt: 2 }, sessionTtlMs: 1_000 });
    await eventually(() => runs().length === 2, 'the second run');
    const [one, two] = runs().map(line => BigInt(line.split(' ').at(-1)!));
    assert.ok(one! < two!, `${one} < ${two}`);
  });

  it('ends itself when a run goes on although it was told that its lease is lost', async () => {
    const settings = { journal: workspace.journal, does: 'ignore' };
    const { ended, launch } = await started('runner', settings, {}, { job, sessionTtlMs: 1_000 });
    await eventually(() => runs().length === 1, 'the run');
    const { leases } = workspace.coordination;
    const { fence } = (await leases.inspect('jobs/pool'))!;
    assert.ok(await leases.release('jobs/pool', launch.processId, fence));
    const { end, stderr } = await ended;
    assert.equal(end, 1);
    assert.match(stderr, /its run r1 goes on although the lease of the job is lost/);
  });

  it('leaves its session to its agent when it is killed', async () => {
    const { child, ended, launch } = await started('keeper');
    child.kill('SIGKILL');
    assert.equal((await ended).end, 'SIGKILL');
    assert.equal((await sessions()).length, 1);
    assert.equal(await workspace.coordination.directory.endSessionsOf(launch.processId), 1);
    assert.deepEqual(await sessions(), []);
  });

  it('says what it needs when it is started by hand', async () => {
    for (const input of ['nonsense\n', '{"clusterSecret":"hunter2"}\n']) {
      const { end, stderr } = await spawnHost(input).ended;
      assert.equal(end, 2);
      assert.match(stderr, /^this process is started by a Holdfast agent: [^\n]+\n$/);
      assert.ok(!stderr.includes('hunter2'));
    }
  });
});
