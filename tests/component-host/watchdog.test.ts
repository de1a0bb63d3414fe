import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { listenForChannels, type Channel } from '#channel';
import type { Host } from '#component-host';
import type { HostConfiguration, HostStatus } from '#core';
import {
  channelHeaders,
  clusterSecret,
  configuration,
  eventually,
  openWorkspace,
  routed,
  system,
  type Workspace,
} from './workspace.ts';

const main = join(import.meta.dirname, '../../component-host/main.ts');
/** Long enough that a busy machine, which keeps a process waiting for a second, makes nobody late. */
const sessionTtlMs = 4_000;

describe('watchdog of a component host process', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  let child: ChildProcess;
  let host: Host;
  let agent: { close(): Promise<void> };
  beforeEach(async () => {
    workspace = await openWorkspace();
  });
  afterEach(end);

  async function end(): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await agent.close();
    await workspace.close();
  }

  async function start(change: Partial<HostConfiguration> = {}): Promise<void> {
    const hello = Promise.withResolvers<{ channel: Channel; status: HostStatus }>();
    agent = await listenForChannels(join(workspace.directory, 'agent.sock'), opened => {
      opened.handle('hello', ({ status }: { status: HostStatus }) => {
        hello.resolve({ channel: opened, status });
        return { accepted: true };
      });
      opened.handle('status', () => {});
      opened.listen();
    });
    child = spawn(process.execPath, [main], { stdio: ['pipe', 'inherit', 'inherit'] });
    child.stdin!.write(`${JSON.stringify(workspace.launch())}\n`);
    const { channel, status } = await hello.promise;
    await channel.request('configure', configuration('stalls', {}, { sessionTtlMs, ...change }));
    await channel.request('start', null, { timeoutMs: 20_000 });
    host = { uri: status.hostUri } as Host;
    assert.equal((await routed(workspace, host, '/a', { key: '/a' })).text, 'answered');
  }

  async function watching(): Promise<boolean> {
    const response = await fetch(`${host.uri}/metrics`, {
      headers: { authorization: `Bearer ${clusterSecret}` },
    });
    return /^holdfast_host_watchdog 1$/m.test(await response.text());
  }

  /** What becomes of a request: its answer, or the code of what broke it off. */
  async function outcome(path: string): Promise<string> {
    const headers = await channelHeaders(workspace, host, { key: '/a' });
    const at = await workspace.entrance(host);
    return new Promise(resolve => {
      const failed = (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message);
      const request = httpRequest(new URL(path, at), { headers }, response => {
        response.on('error', failed);
        response.on('data', part => resolve(String(part)));
      });
      request.on('error', failed);
      request.end();
    });
  }

  it('kills the process whose event loop stalls past its deadline', async () => {
    // That it is gone before its session is a matter of some 100 ms, and so long may a busy machine take to tell of its exit: one that
    // comes too late comes too late every time.
    for (let attempt = 1; ; attempt++) {
      await start();
      await eventually(watching, 'the watchdog to begin');
      const exit = once(child, 'exit');
      const broken = outcome(`/a?block=60000`);
      assert.deepEqual(await exit, [null, 'SIGKILL']);
      const left = (await workspace.coordination.directory.sessions()).length;
      assert.equal(await broken, 'ECONNRESET');
      if (left === 1) break;
      assert(attempt < 5, 'its session had ended before');
      await end();
      workspace = await openWorkspace();
    }
  });

  it('lets a process live whose event loop stalls for less', async () => {
    await start();
    await eventually(watching, 'the watchdog to begin');
    assert.equal(await outcome(`/a?block=${sessionTtlMs * 0.35}`), 'answered');
    assert.equal((await routed(workspace, host, '/a', { key: '/a' })).text, 'answered');
    assert.equal(await watching(), true);
  });

  it('lets nothing out of a process that was frozen past its time', async () => {
    await start();
    await eventually(watching, 'the watchdog to begin');
    // It would be finished long before the deadline that passes meanwhile.
    const late = outcome(`/a?wait=${sessionTtlMs * 0.4}`);
    assert.equal(await outcome('/a'), 'answered'); // and the one before has arrived, too
    child.kill('SIGSTOP');
    await eventually(
      async () => (await workspace.coordination.directory.sessions()).length === 0,
      'the session to expire',
    );
    await system.timers.sleep(sessionTtlMs / 4);
    child.kill('SIGCONT');
    assert.equal(await late, 'ECONNRESET');
  });

  it('watches no process that goes on serving because its commits are fenced', async () => {
    await start({ onAuthorityLoss: 'serveFenced' });
    assert.equal(await outcome(`/a?block=${sessionTtlMs * 1.25}`), 'answered');
    assert.equal(await watching(), false);
  });
});
