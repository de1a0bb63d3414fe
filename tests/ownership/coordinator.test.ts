import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connectChannel } from '#channel';
import type { InstanceId } from '#core';
import { ensureCoordinator, startCoordinator } from '#ownership';
import { until } from '../leases/conformance.ts';
import { claim, host, key, pool } from './vocabulary.ts';
import { CoordinatorHarness, system } from './harness.ts';

describe('coordinator', () => {
  let harness: CoordinatorHarness;
  let folder: string;
  beforeEach(async () => {
    harness = await CoordinatorHarness.create();
    folder = join(harness.stateRoot, 'coordination');
  });
  afterEach(() => harness.stop());

  const log = () => readFile(join(folder, 'coordinator.log'), 'utf8').catch(() => '');
  const exitCode = async (child: ReturnType<CoordinatorHarness['spawn']>): Promise<unknown> =>
    child.exitCode ?? (await once(child, 'exit'))[0];

  describe('as a process', () => {
    it('prints nothing, keeps its files to its user, and ends cleanly on SIGTERM', async () => {
      const child = await harness.start();
      let printed = '';
      child.stderr!.on('data', chunk => (printed += String(chunk)));
      assert.equal((await stat(folder)).mode & 0o777, 0o700);
      for (const name of await readdir(folder)) {
        assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
      }
      await harness.connect();
      child.kill('SIGTERM');
      assert.equal(await exitCode(child), 0);
      assert.equal(printed, '');
      assert.match(await log(), /coordinator ended/);
    });

    it('ends by itself when its last client has gone, not while one is there', async () => {
      const child = await harness.start('--linger-ms', '100');
      const first = await harness.connect();
      const second = await harness.connect();
      await first.close();
      await new Promise(resolve => setTimeout(resolve, 300));
      await second.directory.sessions();
      assert.equal(child.exitCode, null);
      await second.close();
      assert.equal(await exitCode(child), 0);
    });

    it('does not take somebody who only looks for its first client', async () => {
      const child = await harness.start('--linger-ms', '1');
      assert(await harness.answers());
      await new Promise(resolve => setTimeout(resolve, 200));
      assert.equal(child.exitCode, null);
    });

    it('leaves the file and the socket to the coordinator that has them', async () => {
      await harness.start();
      const client = await harness.connect();
      assert.equal(await exitCode(harness.spawn()), 75);
      await client.directory.sessions();
      assert.match(await log(), /HF_ALREADY_RUNNING/);
    });

    it('says what to do about a folder that cannot be used', async () => {
      await writeFile(folder, 'a file where the folder should be');
      const child = harness.spawn();
      const [chunk] = (await once(child.stderr!, 'data')) as [Buffer];
      assert.match(chunk.toString(), /HF_STATE_UNUSABLE .*coordination.*Make it a folder/);
      assert.equal(await exitCode(child), 78);
      await assert.rejects(ensureCoordinator(harness.stateRoot, system), { code: 'HF_STATE_UNUSABLE' });
    });

    it('says what to do about a file that cannot be used', async () => {
      await mkdir(join(folder, 'coordination.sqlite'), { recursive: true });
      assert.equal(await exitCode(harness.spawn()), 78);
      await assert.rejects(ensureCoordinator(harness.stateRoot, system), {
        code: 'HF_STATE_UNUSABLE',
        message: /coordination\.sqlite/,
      });
    });
  });

  describe('ensureCoordinator', () => {
    /**
     * Ends coordinators that were started detached: those that name this state folder. Twice, because one that a client revived at the
     * last moment would make the folder anew.
     */
    async function endDetached(): Promise<void> {
      await harness.disconnect();
      for (let round = 0; round < 2; round++) {
        await until(async () => {
          const pids = await detached();
          for (const pid of pids) {
            try {
              process.kill(pid, 'SIGKILL');
            } catch {
              // It has just ended by itself.
            }
          }
          return pids.length === 0;
        });
        await new Promise(resolve => setTimeout(resolve, 100));
      }
    }
    async function detached(): Promise<number[]> {
      const pids = (await readdir('/proc')).map(Number).filter(pid => pid > 1);
      const found = await Promise.all(
        pids.map(async pid => {
          const commandLine = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
          return commandLine.split('\0').includes(harness.stateRoot) ? [pid] : [];
        }),
      );
      return found.flat();
    }
    afterEach(endDetached);

    it('ends with one coordinator, however many call at once', async () => {
      const addresses = await Promise.all(
        Array.from({ length: 4 }, () => ensureCoordinator(harness.stateRoot, system)),
      );
      for (const address of addresses) assert.deepEqual(address, harness.address);
      const client = await harness.connect();
      await client.directory.sessions();
      assert.equal((await log()).match(/coordinator started/g)?.length, 1);
    });

    it('finds the one that runs', async () => {
      const child = await harness.start();
      assert.deepEqual(await ensureCoordinator(harness.stateRoot, system), harness.address);
      assert.equal(child.exitCode, null);
      assert.equal((await log()).match(/coordinator started/g)?.length, 1);
    });

    it('lets a client start it again after it was killed, and everything goes on', async () => {
      await harness.start();
      const client = await harness.connect({ revive: () => ensureCoordinator(harness.stateRoot, system) });
      const { sessionId } = await client.directory.openSession(host('h1'));
      const held = await claim(client.directory, 'a');
      await harness.kill();
      await until(async () => {
        const found = await client.directory.lookup(pool, key('a')).catch(() => undefined);
        if (found === undefined) return false;
        assert.deepEqual(found, held);
        return true;
      });
      assert((await client.directory.renewSession(sessionId)).alive);
    });
  });

  describe('its clients', () => {
    it('are told quickly when nobody answers, and go on when somebody does again', async () => {
      await harness.start();
      const client = await harness.connect();
      await harness.kill();
      const startedMs = performance.now();
      await assert.rejects(client.directory.sessions(), { code: 'HF_COORDINATION_UNAVAILABLE' });
      assert(performance.now() - startedMs < 5_000);
      await harness.start();
      await until(() =>
        client.directory.sessions().then(
          () => true,
          () => false,
        ),
      );
    });

    it('are not answered by a connection that was closed', async () => {
      await harness.start();
      const client = await harness.connect();
      await client.close();
      await client.close();
      await assert.rejects(client.directory.sessions(), { code: 'HF_COORDINATION_UNAVAILABLE' });
    });

    it('cannot connect where nobody listens', async () => {
      await assert.rejects(harness.connect(), { code: 'HF_COORDINATION_UNAVAILABLE' });
    });

    it('do not stop each other, even one that is frozen and watches', async () => {
      await harness.start();
      const watcher = fileURLToPath(new URL('../fixtures/ownership/watcher.ts', import.meta.url));
      const frozen = spawn(process.execPath, [watcher, harness.address.socketPath], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      harness.processes.unshift(frozen);
      const seen: string[] = [];
      createInterface({ input: frozen.stdout }).on('line', line => seen.push(line));
      await until(() => seen.includes('watching'));
      frozen.kill('SIGSTOP');
      const client = await harness.connect();
      const { sessionId } = await client.directory.openSession(host('h1'));
      for (let round = 0; round < 50; round++) {
        const keys = Array.from({ length: 200 }, (_, index) => key(`k${round}-${index}`));
        const outcomes = await client.directory.claimMany(pool, keys);
        await Promise.all(
          outcomes.map(async outcome => {
            assert(outcome.owned && (await client.directory.release(outcome.claim)));
          }),
        );
      }
      await client.directory.closeSession(sessionId);
      frozen.kill('SIGCONT');
      // All of it, or a reset in its place: nothing is lost without a word.
      await until(() => seen.includes('session-ended') || seen.includes('reset'));
    });

    it('cannot bring it down with nonsense', async () => {
      await harness.start();
      const channel = await connectChannel(harness.address.socketPath);
      channel.listen();
      const methods =
        'openSession resumeSession adopt claim release releaseMany transfer list pauseKey resumeKey setAlarm ' +
        'settleAlarm dueAlarms lease.tryAcquire lease.watch document.put';
      for (const method of methods.split(' ')) {
        for (const params of [
          {},
          { pool: 1, key: [] },
          { name: {} },
          { held: [null], holdings: [1] },
          null,
        ]) {
          await assert
            .rejects(channel.request(method, params), {
              code: /^HF_(REQUEST|LEASE)_INVALID$/,
            } as object)
            .catch((error: unknown) => {
              // An empty list query is a good one.
              if (method !== 'list') throw error;
            });
        }
      }
      await assert.rejects(channel.request('no-such-method', {}));
      void channel.request('claim', { pool: 'p', key: 'k' }).catch(() => {});
      channel.close(); // with a call under way
      const client = await harness.connect();
      assert.deepEqual(await client.directory.sessions('p' as InstanceId), []);
    });
  });

  it('takes a state folder whose path is too long for a socket', async () => {
    const stateRoot = join(harness.stateRoot, 'x'.repeat(120));
    const coordinator = await startCoordinator({ stateRoot, system });
    try {
      assert(coordinator.socketPath.length < 108);
    } finally {
      await coordinator.close();
    }
    await chmod(stateRoot, 0o700);
  });
});
