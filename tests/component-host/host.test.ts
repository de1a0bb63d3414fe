import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Channel } from '#channel';
import { listenForChannels } from '#channel';
import type { HostStatus, InstanceId } from '#core';
import { configuration, eventually, fixture, openWorkspace, type Workspace } from './workspace.ts';

describe('component host', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  beforeEach(async () => {
    workspace = await openWorkspace();
  });
  afterEach(() => workspace.close());

  const publisher = (settings = {}) => ({ ...fixture('journal-publisher'), settings });

  it('starts the publisher first and stops it last, and delivers messages in between', async () => {
    const { journal } = workspace;
    const host = await workspace.host();
    await host.configure(
      configuration(
        'journal-component',
        { journal, subscribe: ['news'] },
        { publisher: publisher({ journal, publishAtStart: true }) },
      ),
    );
    const started = await host.start();
    assert.equal(started.state, 'Started');
    assert.equal(started.publisher?.state, 'started');
    const stopped = await host.stop();
    assert.equal(stopped.state, 'Stopped');
    assert.deepEqual(workspace.lines(), [
      'publisher start',
      'component start',
      'publisher subscribe news as pool',
      'component message first',
      'publisher unsubscribe news',
      'component stop',
      'publisher stop',
    ]);
  });

  it('opens a session while it is started, and ends it with the stop', async () => {
    const host = await workspace.host();
    const { directory } = workspace.coordination;
    await host.configure(configuration('echo', {}, { capacity: 3 }));
    assert.deepEqual(await directory.sessions(), []);
    await host.start();
    const [session] = await directory.sessions('pool' as InstanceId);
    assert.equal(session?.address, host.uri);
    assert.equal(session.capacity, 3);
    assert.equal(session.ownsResources, false);
    await host.stop();
    assert.deepEqual(await directory.sessions(), []);
  });

  it('rolls back a start that fails, names the cause, and starts when it is mended', async () => {
    const { journal } = workspace;
    const host = await workspace.host();
    const others = { publisher: publisher({ journal }) };
    await host.configure(configuration('journal-component', { journal, failAt: 'start' }, others));
    await assert.rejects(host.start(), {
      code: 'HF_START_FAILED',
      message: 'start of the component failed: told to fail at start',
    });
    const failed = host.status();
    assert.equal(failed.state, 'Errored');
    assert.equal(failed.errors.at(-1)?.code, 'HF_START_FAILED');
    assert.deepEqual(workspace.lines(), [
      'publisher start',
      'component start',
      'component stop',
      'publisher stop',
    ]);
    const log = await readFile(join(workspace.directory, 'host-1/host.log'), 'utf8');
    assert.match(log, /journal-component\/content\/index\.ts:/, 'the stack is in the log');

    await host.configure(configuration('journal-component', { journal }, others));
    assert.equal((await host.start()).state, 'Started');
  });

  it('never starts the component when the publisher fails', async () => {
    const { journal } = workspace;
    const host = await workspace.host();
    await host.configure(
      configuration('journal-component', { journal }, { publisher: publisher({ journal, failAt: 'start' }) }),
    );
    await assert.rejects(host.start(), /start of the publisher failed: told to fail at start/);
    assert.deepEqual(workspace.lines(), ['publisher start', 'publisher stop']);
  });

  it('says what is wrong with what a package creates', async () => {
    const host = await workspace.host();
    await host.configure(configuration('journal-component', { failAt: 'create' }));
    await assert.rejects(host.start(), /create of the component failed: told to fail at create/);
    await host.configure(configuration('not-a-component'));
    await assert.rejects(host.start(), /lacks the method stop/);
  });

  it('refuses subscriptions without a publisher that could deliver', async () => {
    const host = await workspace.host();
    await host.configure(configuration('journal-component', { subscribe: ['news'] }));
    await assert.rejects(host.start(), { code: 'HF_NO_PUBLISHER' });
  });

  it('leaves what is configured alone when new settings are wrong', async () => {
    const host = await workspace.host();
    await host.configure(configuration('echo'));
    await assert.rejects(host.configure(configuration('journal-component', { failAt: 1 })), {
      code: 'HF_SETTINGS_INVALID',
    });
    assert.equal(host.status().state, 'Configured');
    assert.equal(host.status().component?.packageName, 'echo');
    assert.equal((await host.start()).state, 'Started');
  });

  it('takes settings that its agent has checked as they are, and checks those of others all the same', async () => {
    const host = await workspace.host();
    const checked = { settingsChecked: true } as const;
    await host.configure(configuration('journal-component', { failAt: 1 }, checked));
    assert.equal(host.status().state, 'Configured');
    await assert.rejects(host.configure(configuration('journal-component', { failAt: 1 })), {
      code: 'HF_SETTINGS_INVALID',
    });
  });

  it('gives the component its environment and its folder, and no cluster without the permission', async () => {
    const { journal } = workspace;
    const host = await workspace.host();
    await host.configure(
      configuration('echo', { journal }, { env: { ECHO_VARIABLE: 'set', HOLDFAST_PROCESS_ID: 'forged' } }),
    );
    await host.start();
    const folder = join(workspace.directory, 'data/pool');
    assert.deepEqual(workspace.lines(), ['variable set', `data ${folder}`, 'cluster no']);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.notEqual(process.env.HOLDFAST_PROCESS_ID, 'forged');
    await host.stop();
    await host.configure(configuration('echo'));
    assert.equal(process.env.ECHO_VARIABLE, undefined);
  });

  it('keeps its log to itself, without secrets', async () => {
    const host = await workspace.host();
    host.log.info({ password: 'hunter2', url: 'redis://u:hunter2@h' }, 'connecting');
    const path = join(workspace.directory, 'host-1/host.log');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const text = await readFile(path, 'utf8');
    assert.ok(text.includes('connecting') && !text.includes('hunter2'));
    assert.ok(!text.includes(workspace.launch().clusterSecret));
  });

  describe('and its agent', () => {
    let agent: { close(): Promise<void> };
    let channel: Channel;
    let hellos: { processId: string; hostSecret: string; status: HostStatus }[];
    let statuses: HostStatus[];

    async function listen(accepted = true): Promise<void> {
      agent = await listenForChannels(join(workspace.directory, 'agent.sock'), opened => {
        channel = opened;
        opened.handle('hello', (params: (typeof hellos)[number]) => {
          hellos.push(params);
          return { accepted };
        });
        opened.handle('status', (status: HostStatus) => void statuses.push(status));
        opened.listen();
      });
    }
    beforeEach(() => {
      hellos = [];
      statuses = [];
    });
    afterEach(() => agent.close());

    it('says hello, is configured and started over the channel, and reports every change', async () => {
      await listen();
      const host = await workspace.host();
      await eventually(() => hellos.length === 1, 'the hello');
      assert.equal(hellos[0]!.hostSecret, 'host-secret-1');
      assert.equal(hellos[0]!.status.state, 'AwaitingConfiguration');
      assert.equal(hellos[0]!.status.hostUri, host.uri);
      await channel.request('configure', configuration('keeper'));
      const started = await channel.request<HostStatus>('start', null);
      assert.equal(started.state, 'Started');
      await eventually(() => statuses.some(status => status.state === 'Started'), 'the report');
      await assert.rejects(channel.request('start', null), { code: 'HF_WRONG_STATE' });
    });

    it('answers a shutdown before it ends', async () => {
      await listen();
      const host = await workspace.host();
      await eventually(() => hellos.length === 1, 'the hello');
      await channel.request('configure', configuration('echo'));
      await channel.request('start', null);
      const last = await channel.request<HostStatus>('shutdown', { graceMs: 2_000 });
      assert.equal(last.state, 'Destroyed');
      await host.ended;
      await assert.rejects(fetch(host.uri));
    });

    it('finds an agent that went away and came back', async () => {
      await listen();
      await workspace.host();
      await eventually(() => hellos.length === 1, 'the hello');
      await agent.close();
      await listen();
      await eventually(() => hellos.length === 2, 'the second hello');
    });

    it('ends when the agent does not know it', async () => {
      await listen(false);
      const host = await workspace.host();
      await host.ended;
    });

    it('ends gracefully after its time without an agent', async () => {
      const { journal } = workspace;
      await listen();
      const host = await workspace.host({ orphanGraceMs: 300 });
      await eventually(() => hellos.length === 1, 'the hello');
      await channel.request('configure', configuration('journal-component', { journal }));
      await channel.request('start', null);
      await agent.close();
      await host.ended;
      assert.deepEqual(workspace.lines(), ['component start', 'component stop']);
      assert.deepEqual(await workspace.coordination.directory.sessions(), []);
    });
  });
});
