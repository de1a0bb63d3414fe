/** Starting and ending as they go wrong: killed starters, taken ports, unusable folders, half-written state. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, processesWithEnvironment, processIdentity, type ProcessIdentity } from '#core';
import { freePort, holdfast, startCluster, until, type Cluster } from '../support/cluster.ts';

/** Every process below `pid`, by pid and start time. */
function treeOf(pid: number): ProcessIdentity[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(line => line.trim().split(/\s+/).map(Number) as [number, number]);
  const below = (parent: number): number[] =>
    rows.filter(([, ppid]) => ppid === parent).flatMap(([child]) => [child, ...below(child)]);
  return [pid, ...below(pid)].flatMap(item => processIdentity(item) ?? []);
}

async function everything(cluster: Cluster): Promise<ProcessIdentity[]> {
  const hosts = (await cluster.processes()).flatMap(item => processIdentity(item.pid!) ?? []);
  const escaped = (await cluster.processes()).flatMap(item =>
    processesWithEnvironment('HOLDFAST_PROCESS_ID', item.processId),
  );
  return [...treeOf(cluster.process.pid!), ...hosts, ...escaped];
}

/** Runs `up` to its end; for those that must fail. */
async function up(settingsPath: string, stateRoot: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [holdfast, 'up', '--settings', settingsPath, '--state', stateRoot], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, npm_lifecycle_event: undefined },
  });
  let output = '';
  child.stdout.on('data', chunk => (output += chunk));
  child.stderr.on('data', chunk => (output += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

describe('starting and ending', function () {
  this.timeout(120_000);

  describe('a running cluster', () => {
    let cluster: Cluster;
    beforeEach(async () => {
      cluster = await startCluster({ nodes: 2 });
    });
    afterEach(async () => {
      await cluster.dispose();
    });

    it('leaves no process when its starter is killed with SIGKILL', async () => {
      const processes = await everything(cluster);
      assert(processes.length >= 8, `${processes.length} processes`);
      cluster.process.kill('SIGKILL');
      await until('every process is gone', async () => !processes.some(isRunning), 20_000);
      // What was left behind does not stop the next start.
      await cluster.restart();
      assert.equal(
        (await cluster.status()).nodes.every(node => node.state === 'ready'),
        true,
      );
    });

    it('restarts an agent that was killed, which adopts its hosts', async () => {
      const before = await cluster.processes();
      const agents = treeOf(cluster.process.pid!).filter(identity =>
        execFileSync('ps', ['-o', 'args=', '-p', String(identity.pid)], { encoding: 'utf8' }).includes(
          '--name node-1',
        ),
      );
      assert.equal(agents.length, 1);
      process.kill(agents[0]!.pid, 'SIGKILL');
      const after = await until('the agent answers again', async () => {
        const found = await cluster.processes();
        return found.length === before.length && found.every(item => item.state === 'Running') && found;
      });
      const ids = (list: { processId: string; pid: number | null }[]) =>
        new Set(list.map(item => `${item.processId} ${item.pid}`));
      assert.deepEqual(ids(after), ids(before));
    });

    it('refuses a second start on the same state', async () => {
      const second = await up(cluster.settingsPath, cluster.stateRoot);
      assert.equal(second.code, 1);
      assert.match(second.output, /HF_ALREADY_RUNNING|HF_PORT_IN_USE/);
    });
  });

  describe('what cannot start says why', () => {
    let directory: string;
    let settingsPath: string;
    let port: number;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'holdfast-start-'));
      settingsPath = join(directory, 'cluster-settings.json');
      port = await freePort();
      await writeFile(
        settingsPath,
        JSON.stringify({
          clusterName: 'test',
          nodeServers: [{ networkName: 'node-1', nodeApiUri: `http://127.0.0.1:${port}` }],
          componentInstances: [
            { id: 'node-manager', packageName: 'node-manager', settings: { port: await freePort() } },
            { id: 'router', packageName: 'router', settings: { port: await freePort() } },
          ],
        }),
      );
    });
    afterEach(async () => {
      await chmod(directory, 0o700);
      await rm(directory, { recursive: true, force: true });
    });

    it('names a port that is in use', async () => {
      const server = createServer().listen(port, '127.0.0.1');
      await once(server, 'listening');
      const { code, output } = await up(settingsPath, join(directory, '.holdfast'));
      server.close();
      assert.equal(code, 1);
      assert.match(output, new RegExp(`HF_PORT_IN_USE.*${port}`));
    });

    it('names a state folder that it cannot use', async () => {
      await writeFile(join(directory, 'taken'), 'a file where a folder should be');
      const { code, output } = await up(settingsPath, join(directory, 'taken'));
      assert.equal(code, 1);
      assert.match(output, /HF_STATE_UNUSABLE.*taken/);
    });

    it('refuses an empty token file and says how to mend it', async () => {
      await mkdir(join(directory, '.holdfast'), { mode: 0o700 });
      await writeFile(join(directory, '.holdfast/token'), '');
      const { code, output } = await up(settingsPath, join(directory, '.holdfast'));
      assert.equal(code, 1);
      assert.match(output, /HF_STATE_UNUSABLE.*token/);
    });

    it('lists what is wrong with the settings, with paths', async () => {
      const document = JSON.parse(await readFile(settingsPath, 'utf8')) as Record<string, unknown>;
      await writeFile(settingsPath, JSON.stringify({ ...document, clusterNam: 'x', nodeServers: 'none' }));
      const { code, output } = await up(settingsPath, join(directory, '.holdfast'));
      assert.equal(code, 1);
      assert.match(output, /HF_SETTINGS_INVALID/);
      assert.match(output, /\$\.clusterNam/);
      assert.match(output, /\$\.nodeServers/);
      await assert.rejects(stat(join(directory, '.holdfast/nodes')), 'nothing was started');
    });
  });
});
