import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  createFakeSystem,
  type HostConfiguration,
  type InstanceId,
  type LeaseService,
  type ProcessId,
  type ResourceKey,
} from '#core';
import { startAlarms, type Alarm } from '../../component-host/calls/alarms.ts';
import { createCalls, type Calls } from '../../component-host/calls/calls.ts';
import {
  clusterSecret,
  configuration,
  eventually,
  openWorkspace,
  system,
  type Workspace,
} from './workspace.ts';

const pool = 'left' as InstanceId;
const log = { debug() {}, info() {}, warn() {}, error() {} };
const program = join(import.meta.dirname, '../fixtures/component-host/runs-host.ts');

describe('alarms', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  let outside: Calls;
  let children: Map<ProcessId, ChildProcess>;
  beforeEach(async () => {
    children = new Map();
    workspace = await openWorkspace();
    const { coordination } = workspace;
    const who = { processId: 'test-1', pool: 'test' as InstanceId };
    outside = createCalls({ system, log, coordination, clusterSecret, ...who, concurrency: 0 });
  });
  afterEach(async () => {
    for (const processId of children.keys()) await kill(processId);
    await outside.stop();
    await workspace.close();
  });

  function settings(change: Partial<HostConfiguration> = {}, more = {}): HostConfiguration {
    return configuration('caller', { journal: workspace.journal, ...more }, { instanceId: pool, ...change });
  }

  async function host(...of: Parameters<typeof settings>): Promise<void> {
    const started = await workspace.host();
    await started.configure(settings(...of));
    await started.start();
  }

  async function hostProcess(): Promise<ProcessId> {
    const launch = workspace.launch();
    const child = fork(program, { stdio: 'inherit' });
    children.set(launch.processId, child);
    child.send({ launch, configuration: settings() });
    await once(child, 'message');
    return launch.processId;
  }

  /** With the agent's proof of death. */
  async function kill(processId: ProcessId): Promise<void> {
    const child = children.get(processId);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
    await workspace.coordination.directory.endSessionsOf(processId);
  }

  const set = async (key: string, inMs: number): Promise<string> => {
    const answer = await outside.resource(pool, key).fetch(`${key}?alarm=${inMs}`);
    return ((await answer.json()) as { process: string }).process;
  };
  const came = (key: string) => workspace.lines().filter(line => line.startsWith(`alarm ${key} `));
  const isSettled = async () => {
    const { alarms, nextInMs } = await workspace.coordination.directory.dueAlarms(pool, 10);
    return alarms.length === 0 && nextInMs === null;
  };

  it('come at their time, once, and not before', async () => {
    await host();
    const startMs = system.clock.wallMs();
    await set('/a', 300);
    await set('/b', 3_600_000);
    await eventually(() => came('/a').length > 0, 'the alarm');
    assert.ok(system.clock.wallMs() - startMs >= 300);
    await eventually(async () => {
      const { alarms } = await workspace.coordination.directory.dueAlarms(pool, 10);
      return alarms.length === 0;
    }, 'it is settled');
    await system.timers.sleep(1_200); // another look
    assert.equal(came('/a').length, 1);
    assert.deepEqual(came('/b'), []);
  });

  it('open a key that was closed because nobody asked for it', async () => {
    await host({ idleMs: 100 });
    await set('/a', 1_500);
    await eventually(() => workspace.lines().some(line => line.startsWith('close /a')), 'it is passivated');
    await eventually(() => came('/a').length > 0, 'the alarm');
    const lines = workspace.lines().map(line => line.split(' ')[0]);
    assert.deepEqual(lines.slice(0, 4), ['open', 'close', 'open', 'alarm']);
    await eventually(isSettled, 'it is settled');
  });

  it('come again when the handler fails, and are settled only when it does not', async () => {
    await host({}, { failFirst: true });
    await set('/a', 50);
    await eventually(() => came('/a').length === 1, 'the first time');
    assert.equal(await isSettled(), false);
    await eventually(() => came('/a').length === 2, 'the second time');
    await eventually(isSettled, 'it is settled');
  });

  it('come at the new owner when the process that set them is killed, also if that was who woke them', async () => {
    const first = await hostProcess(); // has the lease, since it came first
    await eventually(() => workspace.coordination.leases.inspect(`alarms/${pool}`), 'the lease is held');
    const second = await hostProcess();
    const owners = new Map<string, string>();
    for (const key of ['/a', '/b']) owners.set(await set(key, 4_000), key);
    const key = owners.get(first)!; // keys are spread evenly
    await kill(first);
    assert.deepEqual(came(key), []);
    await eventually(() => came(key).length > 0, 'the alarm', 20_000);
    assert.deepEqual(came(key), [`alarm ${key} ${second}`]);
    await eventually(isSettled, 'it is settled');
  });

  it('survive the death of every host', async () => {
    const first = await hostProcess();
    await set('/a', 100_000_000);
    await set('/b', 4_000);
    await kill(first);
    assert.deepEqual(came('/b'), []);
    const second = await hostProcess();
    await eventually(() => came('/b').length > 0, 'the alarm', 20_000);
    assert.deepEqual([came('/a'), came('/b')], [[], [`alarm /b ${second}`]]);
  });
});

describe('alarms’ dispatcher', () => {
  const key = (name: string) => name as ResourceKey;
  const holds: Pick<LeaseService, 'hold'> = {
    async hold(_name, { signal }, work) {
      return { acquired: true, value: await work(signal!, { fence: 1n }), fence: 1n, heldToTheEnd: true };
    },
  };

  /** With a store that has these alarms due until they are taken out. */
  function dispatcher(due: Alarm[], wake: (alarm: Alarm) => Promise<void>) {
    const fake = createFakeSystem();
    let looks = 0;
    const alarms = startAlarms({
      system: fake,
      log,
      pool,
      holder: 'h',
      leases: holds,
      directory: {
        async dueAlarms(_pool, limit) {
          looks += 1;
          return { alarms: due.slice(0, limit), nextInMs: null };
        },
      },
      wake,
    });
    const pass = async (ms: number) => {
      for (let at = 0; at < ms; at += 50) await fake.advance(50);
    };
    return { alarms, pass, looks: () => looks };
  }

  it('has no more than sixteen under way at once, and leaves none out', async () => {
    const due = Array.from({ length: 100 }, (_, index): Alarm => ({ key: key(`/${index}`), atMs: 1 }));
    const running: (() => void)[] = [];
    const woken = new Set<string>();
    let most = 0;
    let now = 0;
    const { alarms, pass } = dispatcher([...due], async alarm => {
      now += 1;
      most = Math.max(most, now);
      woken.add(alarm.key);
      await new Promise<void>(resolve => running.push(resolve));
      now -= 1;
    });
    await pass(1_000);
    assert.equal(now, 16);
    while (woken.size < 100 || running.length > 0) {
      for (const finish of running.splice(0)) finish();
      await pass(50);
    }
    assert.equal(most, 16);
    await alarms.stop();
  });

  it('brings back what fails after growing pauses, and holds nothing else up with it', async () => {
    const due: Alarm[] = [
      { key: key('/bad'), atMs: 1 },
      { key: key('/good'), atMs: 2 },
    ];
    const times: number[] = [];
    let elapsedMs = 0;
    const { alarms, pass } = dispatcher(due, async alarm => {
      if (alarm.key === key('/good'))
        return void due.splice(due.indexOf(due.find(one => one.key === alarm.key)!), 1);
      times.push(elapsedMs);
      throw new Error('no');
    });
    for (; elapsedMs < 30_000; elapsedMs += 100) await pass(100);
    assert.equal(due.length, 1);
    const pauses = times.slice(1).map((time, index) => time - times[index]!);
    assert.ok(times.length >= 4 && times.length <= 7, `${times.length} times in 30 s`);
    assert.ok(pauses.at(-1)! > 2 * pauses[0]!, pauses.join());
    await alarms.stop();
  });

  it('looks about once a second while nothing is due, and stops in the middle of it', async () => {
    const { alarms, pass, looks } = dispatcher([], async () => {});
    await pass(10_000);
    assert.ok(looks() >= 9 && looks() <= 13, `${looks()} looks`);
    const before = looks();
    await alarms.stop();
    await pass(5_000);
    assert.equal(looks(), before);
  });

  it('goes on when the store does not answer', async () => {
    const fake = createFakeSystem();
    let asked = 0;
    let woken = 0;
    const alarms = startAlarms({
      system: fake,
      log,
      pool,
      holder: 'h',
      leases: holds,
      directory: {
        async dueAlarms() {
          asked += 1;
          if (asked === 1) throw new Error('the store is away');
          return { alarms: asked === 2 ? [{ key: key('/a'), atMs: 1 }] : [], nextInMs: null };
        },
      },
      wake: async () => void (woken += 1),
    });
    for (let at = 0; at < 3_000; at += 50) await fake.advance(50);
    assert.equal(woken, 1);
    await alarms.stop();
  });
});
