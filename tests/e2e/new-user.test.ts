/**
 * What a new user does, through HTTP and files only, in one story: start, upload, edit, watch, break, repair, stop, start
 * again. The steps build on each other, so the story stops at its first failure.
 */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, processIdentity, type MasterInstance } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { makeKeeperPackage } from '../support/make-package.ts';
import { startLoad } from '../support/load.ts';
import { stepByStep } from '../support/step-by-step.ts';

interface Answer {
  owner: string;
  node: string;
  key: string;
  fence: string;
  version: string;
  served: number;
  body: string;
}

describe('a new user', function () {
  this.timeout(120_000);
  stepByStep();
  let cluster: Cluster;
  let ask: (key: string, router?: number) => Promise<Answer>;

  before(async () => {
    cluster = await startCluster({ nodes: 3, routers: 2 });
    ask = async (key, router = 0) => {
      const response = await fetch(`${cluster.routerUris[router]}${key}`);
      assert.equal(response.status, 200, await response.clone().text());
      return (await response.json()) as Answer;
    };
  });
  after(async () => {
    await cluster?.dispose();
  });

  const instance = async (id: string): Promise<MasterInstance> => {
    const found = (await cluster.status()).instances.find(item => item.id === id);
    assert(found, `no instance ${id}`);
    return found;
  };
  const sql = async (name: string, query: string, parameters: unknown[] = []) => {
    const response = await fetch(`${cluster.routerUris[0]}/db/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, parameters }),
    });
    const body = (await response.json()) as { worker: string; database: string; results: unknown[] };
    assert.equal(response.status, 200, JSON.stringify(body));
    return body;
  };

  it('starts a cluster of three nodes with one command, and its token opens every API', async () => {
    const status = await cluster.status();
    assert.deepEqual(
      status.nodes.map(node => node.state),
      ['ready', 'ready', 'ready'],
    );
    assert.equal((await stat(join(cluster.stateRoot, 'token'))).mode & 0o777, 0o600);
    const host = (await cluster.processes()).find(item => item.component?.packageName === 'sqlite-service');
    assert(host?.hostUri);
    for (const uri of [
      `${cluster.masterUri}/api/master`,
      `${cluster.nodeUris[0]}/api/node/processes`,
      `${host.hostUri}/api/componentHost/configuration`,
    ]) {
      assert.equal((await fetch(uri)).status, 401, uri);
      assert.equal(
        (await fetch(uri, { headers: { authorization: `Bearer ${cluster.token}` } })).status,
        200,
        uri,
      );
    }
  });

  it('creates a database at its first query and keeps it at one owner', async () => {
    const first = await sql('customers', 'INSERT INTO customers (name, email) VALUES (?, ?)', [
      'Ada',
      'ada@example.com',
    ]);
    assert.deepEqual(first.results, []);
    const second = await sql('customers', 'SELECT name, email FROM customers');
    assert.deepEqual(second.results, [{ name: 'Ada', email: 'ada@example.com' }]);
    assert.equal(second.worker, first.worker);
    assert.equal(second.database, 'customers');
  });

  it('uploads a ZIP to the master and sees it on all nodes', async () => {
    const response = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: makeKeeperPackage('1.0.0'),
    });
    assert.equal(response.status, 201, await response.text());
    for (const uri of cluster.nodeUris) {
      const found = await fetch(`${uri}/api/node/packages/keeper/configuration`, {
        headers: { authorization: `Bearer ${cluster.token}` },
      });
      assert.equal(found.status, 200, uri);
    }
  });

  it('adds an instance by editing the settings file and sees it run on three nodes', async () => {
    await cluster.editSettings(document => {
      document.componentInstances.push({ id: 'keepers', packageName: 'keeper', instances: 3 });
      document.routes.push({ pathPrefix: '/keep', componentInstanceId: 'keepers' });
    });
    const running = await until('3 keepers run', async () => {
      const found = (await cluster.status()).instances.find(item => item.id === 'keepers');
      return found?.running === 3 && found;
    });
    assert.deepEqual([...running.nodes].sort(), ['node-1', 'node-2', 'node-3']);
    await until('both routers know the route', async () => {
      const statuses = await Promise.all(
        cluster.routerUris.map(async uri => (await fetch(`${uri}/keep/x`)).status),
      );
      return statuses.every(status => status === 200);
    });
  });

  it('answers each of 1,000 keys by one process, however often and through whichever router', async () => {
    const keys = Array.from({ length: 1_000 }, (_, index) => `/keep/${index}`);
    const owners = new Map<string, string>();
    for (let round = 0; round < 3; round++) {
      for (let start = 0; start < keys.length; start += 50) {
        const answers = await Promise.all(
          keys.slice(start, start + 50).map((key, index) => ask(key, (round + index) % 2)),
        );
        for (const answer of answers) {
          const known = owners.get(answer.key);
          assert.equal(answer.owner, known ?? answer.owner, `${answer.key} has two owners`);
          owners.set(answer.key, answer.owner);
        }
      }
    }
    assert.equal(owners.size, 1_000);
    const perHost = Object.values(Object.groupBy(owners.values(), owner => owner)).map(list => list!.length);
    assert.equal(perHost.length, 3);
    assert(
      Math.max(...perHost) - Math.min(...perHost) <= 10,
      `keys are spread unevenly: ${perHost.join(', ')}`,
    );
    const odd = await Promise.all(['/keep//7', '/keep/./7', '/keep/%37', '/keep/7/'].map(key => ask(key)));
    assert.deepEqual(
      odd.map(answer => answer.key),
      Array.from({ length: 4 }, () => '/keep/7'),
    );
  });

  it('loses no idempotent and no unsent request when a host is killed under load', async () => {
    const load = startLoad(
      cluster.routerUris,
      Array.from({ length: 100 }, (_, index) => `/keep/${index}`),
    );
    await load.completed(300);
    const victim = (await cluster.processes()).find(item => item.component?.instanceId === 'keepers')!;
    process.kill(victim.pid!, 'SIGKILL');
    const before = load.count();
    await load.completed(before + 500);
    const report = await load.stop();
    assert.deepEqual(report.failedIdempotent, []);
    assert.deepEqual(
      report.failedOthers.filter(failure => failure.code !== 'HF_OUTCOME_UNKNOWN'),
      [],
    );
    for (const [key, fences] of report.fences) {
      assert.deepEqual(
        fences,
        [...fences].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
        `fences of ${key} went back`,
      );
    }
    await until('the host is replaced', async () => (await instance('keepers')).running === 3);
  });

  it('deploys version 2 hot, without a failed request', async () => {
    const load = startLoad(
      cluster.routerUris,
      Array.from({ length: 100 }, (_, index) => `/keep/${index}`),
    );
    await load.completed(200);
    const response = await cluster.master('/api/master/packages', {
      method: 'PUT',
      headers: { 'content-type': 'application/zip' },
      body: makeKeeperPackage('2.0.0'),
    });
    assert([200, 201].includes(response.status), await response.text());
    await until(
      'all keepers run 2.0.0',
      async () => {
        const found = await instance('keepers');
        return (
          found.running === 3 && found.versions['2.0.0'] === 3 && Object.keys(found.versions).length === 1
        );
      },
      60_000,
    );
    const before = load.count();
    await load.completed(before + 200);
    const report = await load.stop();
    assert.deepEqual(report.failedIdempotent, []);
    assert.deepEqual(report.failedOthers, []);
    assert.equal((await ask('/keep/1')).version, '2.0.0');
    const written = JSON.parse(await readFile(cluster.settingsPath, 'utf8')) as {
      componentInstances: { id: string; packageVersion?: string }[];
    };
    assert.equal(written.componentInstances.find(item => item.id === 'keepers')?.packageVersion, '2.0.0');
  });

  it('runs on when the settings file is broken, says what is wrong, and heals with it', async () => {
    const good = await readFile(cluster.settingsPath, 'utf8');
    const broken = JSON.parse(good) as { componentInstances: { id: string; instances?: unknown }[] };
    const index = broken.componentInstances.findIndex(item => item.id === 'keepers');
    broken.componentInstances[index]!.instances = 'many';
    await cluster.writeSettings(JSON.stringify(broken));
    const error = await until('the error is shown', async () => (await cluster.status()).settingsError);
    assert.match(error.message, new RegExp(`componentInstances\\[${index}\\]\\.instances`));
    assert.match(error.message, /"many"/);
    assert.equal((await ask('/keep/1')).version, '2.0.0');
    assert.equal((await instance('keepers')).running, 3);
    await cluster.writeSettings(good.slice(0, good.length / 2));
    await until('the syntax error is shown', async () =>
      /JSON/.test((await cluster.status()).settingsError?.message ?? ''),
    );
    await cluster.writeSettings(good);
    await until('the error is gone', async () => (await cluster.status()).settingsError === null);
  });

  it('scales up and down', async () => {
    const set = (count: number) =>
      cluster.editSettings(document => {
        document.componentInstances.find(item => item.id === 'keepers')!.instances = count;
      });
    await set(5);
    await until('5 run', async () => (await instance('keepers')).running === 5);
    await set(2);
    await until('2 run', async () => {
      const found = await instance('keepers');
      return found.running === 2 && found.live === 2;
    });
    for (let index = 0; index < 50; index++) await ask(`/keep/${index}`);
    const plan = (await (await cluster.master('/api/master/plan')).json()) as { actions: unknown[] };
    assert.deepEqual(plan.actions, []);
  });

  it('stops with no process left, and finds its state and data when started again', async () => {
    const processes = (await cluster.processes()).map(item => processIdentity(item.pid!)!);
    assert.equal(await cluster.stop(), 0);
    assert.deepEqual(
      processes.filter(identity => isRunning(identity)),
      [],
    );
    const token = cluster.token;
    await cluster.restart();
    assert.equal(cluster.token, token);
    const rows = await sql('customers', 'SELECT name, email FROM customers');
    assert.deepEqual(rows.results, [{ name: 'Ada', email: 'ada@example.com' }]);
    await until('2 keepers run', async () => (await instance('keepers')).running === 2);
    assert.equal((await ask('/keep/1')).version, '2.0.0');
  });
});
