import { strict as assert } from 'node:assert';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isRunning, processIdentity, signalProcess, type ProcessInfo } from '#core';
import type { StoreDocument } from '../../node-api/store/records.ts';
import {
  clientOf,
  componentPackage,
  createWorkplace,
  hostPackage,
  identityOf,
  secret,
  untilGone,
  type AgentClient,
  type Workplace,
} from './agent-harness.ts';

type Client = Omit<AgentClient, 'agent'>;

/** The agent as a process of its own, so that it can die. */
interface AgentProcess {
  child: ChildProcess;
  first: Record<string, unknown>;
  client: Client;
}

const main = join(import.meta.dirname, '../../node-api/main.ts');

describe('node API: an agent that ends and comes back', () => {
  let workplace: Workplace;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    workplace = await createWorkplace();
    await writeFile(join(workplace.stateRoot, 'token'), secret, { mode: 0o600 });
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    // Whatever the killed agents left is taken over and stopped.
    const last = await workplace.agent();
    await last.kill('kill', 0);
    await workplace.dispose();
  });

  async function run(...words: string[]): Promise<AgentProcess> {
    const { stateRoot, dataDirectory } = workplace;
    const child = spawn(
      process.execPath,
      [
        main,
        '--name',
        'node-1',
        '--listen',
        '127.0.0.1:0',
        '--data',
        dataDirectory,
        '--state-root',
        stateRoot,
      ].concat(['--token-file', join(stateRoot, 'token'), '--warm-spares', '0', ...words]),
      { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] },
    );
    children.push(child);
    const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
    const first = JSON.parse(line) as Record<string, unknown>;
    return { child, first, client: clientOf(String(first.uri)) };
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async function startWorker(client: Client, body: object = {}): Promise<ProcessInfo> {
    assert.equal((await client.upload(hostPackage())).status, 201);
    assert.equal((await client.upload(componentPackage())).status, 201);
    const started = await client.start('worker', { settingsId: 'a/0', ...body });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    return started.body;
  }

  const readStore = async () =>
    JSON.parse(await readFile(join(workplace.dataDirectory, 'processes.json'), 'utf8')) as StoreDocument;
  const writeStore = (document: StoreDocument) =>
    writeFile(join(workplace.dataDirectory, 'processes.json'), JSON.stringify(document));

  it('adopts its hosts after SIGKILL: same pid, same id, still stoppable and still supervised', async () => {
    const before = await run();
    assert.equal(before.first.ready, true);
    assert.equal(before.first.pid, before.child.pid);
    const info = await startWorker(before.client, {
      restart: { maxAttempts: 3, windowMs: 60_000, backoffMs: 1, backoffMaxMs: 5 },
    });
    await end(before.child, 'SIGKILL');

    const { client } = await run();
    const adopted = await workplace.until('the adoption', async () => {
      const [now] = await client.processes();
      return now?.host ? now : null;
    });
    assert.deepEqual([adopted.processId, adopted.pid, adopted.state], [info.processId, info.pid, 'Running']);
    const same = await client.start('worker', {
      settingsId: 'a/0',
      restart: { maxAttempts: 3, windowMs: 60_000, backoffMs: 1, backoffMaxMs: 5 },
    });
    assert.equal(same.body.processId, info.processId);

    signalProcess(identityOf(info.pid), 'SIGKILL');
    const restarted = await workplace.until('the restart', async () => {
      const [now] = await client.processes();
      return now?.state === 'Running' && now.restarts === 1 ? now : null;
    });
    const identity = identityOf(restarted.pid);
    assert.deepEqual((await client.kill('worker/kill')).body.killed, [restarted.processId]);
    await untilGone(identity);
  });

  it('leaves its hosts running when it is asked to end alone', async () => {
    const before = await run();
    const info = await startWorker(before.client);
    await end(before.child, 'SIGTERM');
    assert.equal(before.child.exitCode, 0);
    assert.ok(isRunning(identityOf(info.pid)));
    const { client } = await run();
    assert.equal((await client.processes())[0]?.pid, info.pid);
  });

  it('stops its hosts with --stop-hosts-on-exit', async () => {
    const { child, client } = await run('--stop-hosts-on-exit');
    const identity = identityOf((await startWorker(client)).pid);
    await end(child, 'SIGINT');
    assert.ok(!isRunning(identity));
  });

  it('stops its hosts and ends when its lifeline does', async () => {
    const { child, client } = await run('--lifeline-fd', '3', '--warm-spares', '1');
    const identity = identityOf((await startWorker(client, { settings: { escape: true } })).pid);
    const ended = once(child, 'exit');
    child.stdio[3]!.destroy();
    await ended;
    assert.ok(!isRunning(identity));
    assert.deepEqual((await readStore()).hosts, {});
  });

  it('hosts without an agent end by themselves, and the next agent starts them again', async () => {
    const before = await run('--orphan-grace-ms', '200');
    const info = await startWorker(before.client);
    const identity = identityOf(info.pid);
    await end(before.child, 'SIGKILL');
    await untilGone(identity);
    const { client } = await run();
    const again = await workplace.until('the restart', async () => {
      const [now] = await client.processes();
      return now?.state === 'Running' ? now : null;
    });
    assert.notEqual(again.pid, info.pid);
    assert.equal(again.restarts, 1);
  });

  it('never signals a process that got the pid of a dead host', async () => {
    const before = await run();
    const info = await startWorker(before.client);
    const identity = identityOf(info.pid);
    await end(before.child, 'SIGKILL');
    signalProcess(identity, 'SIGKILL');
    await untilGone(identity);

    const stranger = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
    children.push(stranger);
    const document = await readStore();
    document.hosts[info.processId]!.pid = stranger.pid!;
    await writeStore(document);
    const { client } = await run();
    await workplace.until('the restart', async () => (await client.processes())[0]?.state === 'Running');
    await client.kill('kill');
    assert.ok(processIdentity(stranger.pid!), 'the stranger lives');
  });

  it('clears away a marked process that is in no record', async () => {
    const id = 'node-1-stray';
    await mkdir(join(workplace.dataDirectory, 'hosts', id), { recursive: true });
    const stray = spawn('sleep', ['600'], {
      stdio: 'ignore',
      detached: true,
      env: { ...process.env, HOLDFAST_PROCESS_ID: id },
    });
    const foreign = spawn('sleep', ['600'], {
      stdio: 'ignore',
      detached: true,
      env: { ...process.env, HOLDFAST_PROCESS_ID: 'node-1-of-another-folder' },
    });
    children.push(stray, foreign);
    const identity = identityOf(stray.pid!);
    await run();
    await untilGone(identity);
    assert.ok(processIdentity(foreign.pid!), 'what belongs to another agent lives');
  });

  it('clears away a host that was spawned but not yet written down, and starts its entry again', async () => {
    const before = await run();
    const info = await startWorker(before.client);
    const identity = identityOf(info.pid);
    await end(before.child, 'SIGKILL');
    const document = await readStore();
    Object.assign(document.hosts[info.processId]!, { pid: null, startTime: null });
    await writeStore(document);
    const { client } = await run();
    await untilGone(identity);
    const again = await workplace.until('the restart', async () => {
      const [now] = await client.processes();
      return now?.state === 'Running' ? now : null;
    });
    assert.notEqual(again.processId, info.processId);
    assert.equal((await client.processes()).length, 1);
  });

  it('finishes a stop that the agent before had begun, and does not start the process again', async () => {
    const before = await run();
    const info = await startWorker(before.client);
    const identity = identityOf(info.pid);
    await end(before.child, 'SIGKILL');
    const document = await readStore();
    for (const entry of Object.values(document.entries)) entry.state = 'Stopping';
    await writeStore(document);
    const { client } = await run();
    await untilGone(identity);
    await workplace.until('the end of the entry', async () => (await client.processes()).length === 0);
  });

  it('puts away a first start that the agent before had begun: whoever wanted it asks again', async () => {
    const before = await run();
    const starting = startWorker(before.client, { settings: { hangInStart: true } }).catch(() => {});
    const pid = await workplace.until(
      'its process',
      async () => (await before.client.processes()).find(info => info.host?.state === 'Configured')?.pid,
    );
    const identity = identityOf(pid);
    await end(before.child, 'SIGKILL');
    await starting;
    const { client } = await run();
    await untilGone(identity);
    await workplace.until('the end of the entry', async () => (await client.processes()).length === 0);
    assert.equal((await client.start('worker', { settingsId: 'a/0' })).status, 201);
  });

  it('adopts a spare host as a spare', async () => {
    const before = await run('--warm-spares', '1');
    await before.client.upload(hostPackage());
    await before.client.upload(componentPackage());
    const spares = async (client: Client) => {
      const { body } = await client.call<string>('GET', '/metrics');
      return /holdfast_node_spare_hosts (\d+)/.exec(body)?.[1];
    };
    const pid = await workplace.until('the spare', async () => {
      const [host] = Object.values((await readStore()).hosts);
      return (await spares(before.client)) === '1' ? host?.pid : null;
    });
    const identity = identityOf(pid);
    await end(before.child, 'SIGKILL');
    signalProcess(identity, 'SIGSTOP');
    const { client } = await run('--warm-spares', '1');
    assert.equal(await spares(client), '0', 'what it is shows only when it says hello');
    signalProcess(identity, 'SIGCONT');
    await workplace.until('the adopted spare', async () => (await spares(client)) === '1');
    assert.equal((await client.start('worker', {})).body.pid, pid);
  });

  it('works on from the backup when the process store is broken', async () => {
    const before = await run();
    const info = await startWorker(before.client);
    await end(before.child, 'SIGKILL');
    const path = join(workplace.dataDirectory, 'processes.json');
    await writeFile(`${path}.backup`, await readFile(path));
    await writeFile(path, '{"format":1,"hos');
    const { client } = await run();
    assert.equal((await client.processes())[0]?.pid, info.pid);
  });

  it('says what is wrong when neither store nor backup can be read', async () => {
    await mkdir(workplace.dataDirectory, { recursive: true });
    const path = join(workplace.dataDirectory, 'processes.json');
    await writeFile(path, 'no');
    const { child, first } = await run();
    assert.deepEqual((first.error as { code: string }).code, 'HF_STATE_UNUSABLE');
    assert.match((first.error as { message: string }).message, /processes\.json/);
    if (child.exitCode === null) await once(child, 'exit');
    assert.equal(child.exitCode, 1);
    await writeFile(path, JSON.stringify({ format: 1, hosts: {}, entries: {}, ended: [], leaders: {} }));
  });

  it('refuses a second agent on the same folder, a port in use and wrong words, each clearly', async () => {
    const { first } = await run();
    assert.equal(((await run()).first.error as { code: string }).code, 'HF_ALREADY_RUNNING');
    const port = new URL(String(first.uri)).port;
    const other = await run('--data', join(workplace.stateRoot, 'other'), '--listen', `127.0.0.1:${port}`);
    const error = other.first.error as { code: string; message: string };
    assert.equal(error.code, 'HF_PORT_IN_USE');
    assert.match(error.message, new RegExp(port));
    assert.equal(((await run('--warm-spares', 'many')).first.error as { code: string }).code, 'HF_USAGE');
    await writeFile(join(workplace.stateRoot, 'a-file'), '');
    const unusable = await run('--data', join(workplace.stateRoot, 'a-file/data'));
    assert.equal((unusable.first.error as { code: string }).code, 'HF_STATE_UNUSABLE');
  });
});
