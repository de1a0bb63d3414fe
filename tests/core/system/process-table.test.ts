import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  isRunning,
  processesWithEnvironment,
  processFacts,
  processIdentity,
  signalProcess,
  type ProcessFacts,
} from '#core';
import { skipLoudly } from '../../support/skip-loudly.ts';

const idle = 'process.stdout.write("ready"); setInterval(() => {}, 1000);';

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!holds()) {
    assert(performance.now() < endMs, `waited too long until ${what}`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

describe('process table', () => {
  const started: ChildProcess[] = [];

  async function start(code = idle, options: { env?: NodeJS.ProcessEnv; detached?: boolean } = {}) {
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'], ...options });
    started.push(child);
    const [text] = (await once(child.stdout!, 'data')) as [Buffer];
    return { child, pid: child.pid!, text: text.toString() };
  }
  afterEach(async () => {
    for (const child of started.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
    }
  });

  it('knows this process: parent, group, memory, time', () => {
    const facts = processFacts(process.pid)!;
    assert.equal(facts.pid, process.pid);
    assert.equal(facts.parentPid, process.ppid);
    assert.equal(facts.zombie, false);
    const rss = process.memoryUsage.rss();
    assert(facts.rssBytes > rss / 2 && facts.rssBytes < rss * 2, `${facts.rssBytes} and ${rss}`);
    const { user, system } = process.cpuUsage();
    assert(Math.abs(facts.cpuMs - (user + system) / 1000) < 200);
  });

  it('knows a live process, and that it is gone after its end', async () => {
    const { child, pid } = await start();
    const identity = processIdentity(pid)!;
    assert(isRunning(identity));
    assert.deepEqual(processIdentity(pid), identity);
    const exited = once(child, 'exit');
    assert.equal(signalProcess(identity, 'SIGTERM'), true);
    await exited;
    assert.equal(isRunning(identity), false);
    assert.equal(processFacts(pid), null);
    assert.equal(processIdentity(pid), null);
    assert.equal(signalProcess(identity, 'SIGTERM'), false);
  });

  it('does not take another process for the one that had its pid before', async () => {
    const { pid } = await start();
    const identity = processIdentity(pid)!;
    const former = { pid, startTime: String(Number(identity.startTime) - 1) };
    assert.equal(isRunning(former), false);
    assert.equal(signalProcess(former, 'SIGKILL'), false);
    assert.equal(isRunning(identity), true);
  });

  it('counts a zombie as gone', async function () {
    if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
    // A shell that starts a child, tells its pid, and never waits for it.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push(parent);
    const [text] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(text.toString());
    const identity = processIdentity(pid)!;
    // Until then it is a shell, which may take notice of its child's death after all.
    await until('the parent is no shell any more', () => /^sleep$/m.test(commandOf(parent.pid!)));
    process.kill(pid, 'SIGKILL');
    await until('it is a zombie', () => processFacts(pid)?.zombie === true);
    assert.doesNotThrow(() => process.kill(pid, 0), 'the kernel still knows the pid');
    assert.equal(isRunning(identity), false);
    assert.equal(processIdentity(pid), null);
    assert.equal(signalProcess(identity, 'SIGKILL'), false);
  });

  it('reads the facts of a process whatever it calls itself', async function () {
    if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
    const { pid } = await start(`process.title = 'a) Z 1 (b'; ${idle}`);
    const facts = processFacts(pid)!;
    assert.equal(facts.parentPid, process.pid);
    assert.equal(facts.zombie, false);
    assert(isRunning(facts));
  });

  it('signals a whole process group', async () => {
    const { child, pid, text } = await start(
      `const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
       process.stdout.write(String(child.pid)); setInterval(() => {}, 1000);`,
      { detached: true },
    );
    const grandchild = processFacts(Number(text)) as ProcessFacts;
    assert.equal(grandchild.processGroup, pid);
    const exited = once(child, 'exit');
    assert.equal(signalProcess(processIdentity(pid)!, 'SIGKILL', true), true);
    await exited;
    await until('the grandchild is gone', () => !isRunning(grandchild));
  });

  it('finds processes by their environment, also those that left their group', async function () {
    if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
    const mark = `${process.pid}-${Math.random()}`;
    const { pid } = await start(idle, { detached: true, env: { ...process.env, HOLDFAST_TEST_MARK: mark } });
    assert.deepEqual(
      processesWithEnvironment('HOLDFAST_TEST_MARK', mark).map(found => found.pid),
      [pid],
    );
    assert.deepEqual(processesWithEnvironment('HOLDFAST_TEST_MARK', mark.slice(0, -1)), []);
  });
});

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8');
}
