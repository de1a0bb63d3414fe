import { strict as assert } from 'node:assert';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COORDINATION_FILE, redisAddress, type CoordinationAddress, type NodeCoordination } from '#core';
import { issueToken } from '#http-api';
import { findAddress } from '../../node-api/coordination/address-file.ts';
import { decideAssignment } from '../../node-api/coordination/assignment.ts';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { freePort } from '../support/cluster.ts';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  secret,
  until,
  type Workplace,
} from './agent-harness.ts';

const password = 'hunter2';
const address = (port: number) =>
  redisAddress({ clusterName: 'test', urls: [`redis://127.0.0.1:${port}`], sessionTtlMs: 2_000 });

describe('node API: which store a node belongs to', () => {
  const given = redisAddress({ clusterName: 'a', urls: [`redis://:${password}@r`], sessionTtlMs: 5_000 });
  const other = redisAddress({ clusterName: 'b', urls: ['redis://r'], sessionTtlMs: 5_000 });
  const embedded: CoordinationAddress = { kind: 'embedded', socketPath: '/run/x' };
  const decide = (present: CoordinationAddress, more: Partial<Parameters<typeof decideAssignment>[0]> = {}) =>
    decideAssignment({ present, given, source: 'default', path: null, running: 0, ...more });

  it('takes one when nobody has told it any, and it runs nothing', () => {
    assert.deepEqual(decide(embedded), { accept: 'assign' });
  });

  it('takes the one that it has, whatever runs and whoever said so', () => {
    const same = { ...given, urls: ['redis://r:6379/0'] };
    assert.deepEqual(decide(same, { source: 'file', path: '/x', running: 3 }), { accept: 'same' });
  });

  it('keeps the one that it has been told, and says by what', () => {
    for (const source of ['file', 'assigned', 'shared'] as const) {
      for (const present of [other, embedded]) {
        const decision = decide(present, { source, path: '/x/y.json' });
        assert(decision.accept === false);
        assert.match(decision.reason, /another store .*\/x\/y\.json/);
        assert(!decision.reason.includes(password));
      }
    }
  });

  it('keeps the embedded one while something runs on it', () => {
    const decision = decide(embedded, { running: 1 });
    assert(decision.accept === false);
    assert.match(decision.reason, /1 processes run/);
  });
});

describe('node API: the file with the address of the store', () => {
  let root: string;
  let places: { file: string | null; dataDirectory: string; stateRoot: string };
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hf-address-'));
    places = { file: null, dataDirectory: root, stateRoot: join(root, 'state') };
    await rm(places.stateRoot, { recursive: true, force: true });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('is looked for where it was said to be, then in the own folder, then in the shared one', async () => {
    assert.deepEqual((await findAddress(places)).address, { kind: 'embedded' });
    await mkdir(places.stateRoot);
    for (const [index, path] of [
      join(places.stateRoot, COORDINATION_FILE),
      join(places.dataDirectory, COORDINATION_FILE),
      join(root, 'named.json'),
    ].entries()) {
      await writeFile(path, JSON.stringify(address(1_000 + index)), { mode: 0o600 });
      if (index === 2) places.file = path;
      const found = await findAddress(places);
      assert.equal(found.path, path);
      assert.equal(found.source, (['shared', 'assigned', 'file'] as const)[index]);
      assert.deepEqual(found.address, address(1_000 + index));
      assert.equal(found.readableByOthers, false);
    }
  });

  it('is refused with what is wrong, and nothing of it is repeated', async () => {
    const file = join(root, 'named.json');
    for (const text of [
      '',
      `redis://:${password}@x`,
      JSON.stringify({ ...address(1), urls: [`redis://:${password}/@x`] }),
      JSON.stringify({ kind: 'etcd', urls: [password] }),
    ]) {
      await writeFile(file, text);
      await assert.rejects(findAddress({ ...places, file }), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'HF_STATE_UNUSABLE');
        assert(error.message.includes(file) && !error.message.includes(password), error.message);
        return true;
      });
    }
    await assert.rejects(findAddress({ ...places, file: join(root, 'none') }), { code: 'HF_STATE_UNUSABLE' });
    await writeFile(file, JSON.stringify(address(1)), { mode: 0o644 });
    assert.equal((await findAddress({ ...places, file })).readableByOthers, true);
  });
});

describe('node API: assigning a coordination store', function () {
  let workplace: Workplace;
  let redis: RedisServer | null;
  beforeEach(async () => {
    redis = null;
    workplace = await createWorkplace();
  });
  afterEach(async () => {
    await workplace.dispose();
    await redis?.stop();
  });
  const path = '/api/node/coordination';

  it('is remembered, said without secrets, and used for hosts that start afterwards', async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    redis = await startRedis({ parameters: ['--requirepass', password] });
    const withPassword = { ...address(redis.port), urls: [`redis://:${password}@127.0.0.1:${redis.port}`] };
    let node = await workplace.agent();
    await node.upload(hostPackage());
    await node.upload(componentPackage());
    const before = await node.call<NodeCoordination>('GET', path);
    assert.equal(before.body.kind, 'embedded');
    assert.equal(before.body.source, 'default');
    assert.equal(before.body.reachable, true);

    const assigned = await node.call('PUT', path, withPassword);
    assert.equal(assigned.status, 200, JSON.stringify(assigned.body));
    assert.deepEqual(assigned.body, {
      kind: 'redis',
      endpoints: [`127.0.0.1:${redis.port}/0`],
      source: 'assigned',
    });
    const again = await node.call('PUT', path, withPassword);
    assert.equal(again.status, 200);
    const file = join(workplace.dataDirectory, COORDINATION_FILE);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), withPassword);

    const started = await node.start('worker', { settingsId: 'worker/0/a' });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    await node.agent.close({ stopHosts: true });

    node = await workplace.agent();
    const { body } = await node.call<NodeCoordination>('GET', path);
    assert.equal(body.source, 'assigned');
    assert.equal(body.reachable, true, body.problem ?? '');
    assert.match(body.warnings.join(), /appendonly is off/);
    const stats = await node.call<{ coordination: NodeCoordination }>('GET', '/api/node/stats');
    assert.deepEqual(stats.body.coordination, body);
    assert(!JSON.stringify([assigned.body, body, stats.body]).includes(password));
  });

  it('is refused by a node that belongs to another store, and changes nothing', async () => {
    const [first, second] = [await freePort(), await freePort()];
    const node = await workplace.agent();
    assert.equal((await node.call('PUT', path, address(first))).status, 200);
    const refused = await node.call<{ code: string }>('PUT', path, address(second));
    assert.equal(refused.status, 409);
    assert.equal(refused.body.code, 'HF_WRONG_STATE');
    const text = await readFile(join(workplace.dataDirectory, COORDINATION_FILE), 'utf8');
    assert.deepEqual(JSON.parse(text), address(first));
  });

  it('is refused by a node that runs something on its own store, and leaves no file', async () => {
    const node = await workplace.agent();
    await node.upload(hostPackage());
    await node.upload(componentPackage());
    assert.equal((await node.start('worker', { settingsId: 'worker/0/a' })).status, 201);
    const refused = await node.call<{ code: string }>('PUT', path, address(await freePort()));
    assert.equal(refused.body.code, 'HF_WRONG_STATE');
    await assert.rejects(stat(join(workplace.dataDirectory, COORDINATION_FILE)), { code: 'ENOENT' });
  });

  it('needs the scope admin, and an address that is one', async () => {
    const node = await workplace.agent();
    for (const body of [{}, { ...address(1), urls: [`redis://:${password}/@a`] }, { kind: 'embedded' }]) {
      const refused = await node.call<{ code: string }>('PUT', path, body);
      assert.equal(refused.status, 400);
      assert.equal(refused.body.code, 'HF_REQUEST_INVALID');
      assert(!JSON.stringify(refused.body).includes(password));
    }
    const deploy = issueToken(secret, 'deploy', Math.floor(Date.now() / 1_000) + 60);
    const authorization = `Bearer ${deploy}`;
    assert.equal((await node.call('PUT', path, address(1), { authorization })).status, 403);
    assert.equal((await node.call('GET', path, undefined, { authorization })).status, 200);
  });

  it('is not taken for another one while hosts of the one before live', async () => {
    const node = await workplace.agent();
    await node.upload(hostPackage());
    await node.upload(componentPackage());
    const started = await node.start('worker', { settingsId: 'worker/0/a' });
    await node.agent.close({ stopHosts: false });
    const file = join(workplace.stateRoot, 'store.json');
    await writeFile(file, JSON.stringify(address(await freePort())), { mode: 0o600 });
    await assert.rejects(workplace.agent({ coordinationFile: file }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'HF_WRONG_STATE');
      assert.match(error.message, /1 hosts of this node still run on another coordination store/);
      return true;
    });
    const back = await workplace.agent();
    await until('it is adopted', async () => (await back.processes())[0]?.state === 'Running');
    assert.equal((await back.processes())[0]!.pid, started.body.pid);
  });

  it('may be away for ever without a restart being given up', async () => {
    const away = join(workplace.stateRoot, 'away');
    const node = await workplace.agent();
    await node.upload(hostPackage());
    await node.upload(componentPackage());
    const started = await node.start('worker', {
      settingsId: 'worker/0/a',
      settings: { storeAwayWhile: away },
      restart: { maxAttempts: 1, windowMs: 60_000, backoffMs: 0, backoffMaxMs: 0 },
    });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    await writeFile(away, '');
    process.kill(started.body.pid!, 'SIGKILL');
    await until('it was tried three times', async () => (await node.processes())[0]!.restarts >= 3);
    assert.notEqual((await node.processes())[0]!.state, 'CrashLoop');
    await rm(away);
    await until('it runs', async () => (await node.processes())[0]!.state === 'Running');
  });

  it('lets an agent start, stop and tell while the store is away, and start hosts when it comes', async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    redis = await startRedis();
    await redis.kill();
    const file = join(workplace.stateRoot, 'store.json');
    await writeFile(file, JSON.stringify(address(redis.port)), { mode: 0o600 });
    const node = await workplace.agent({ coordinationFile: file });
    await node.upload(hostPackage());
    await node.upload(componentPackage());
    const away = await node.call<NodeCoordination>('GET', path);
    assert.equal(away.body.reachable, false);
    assert.match(away.body.problem ?? '', /./);
    // The fixture host needs no store; that its sessions cannot be ended must not hold up its death.
    const started = await node.start('worker', { settingsId: 'worker/0/a' });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    const killed = await node.kill('kill', 100);
    assert.deepEqual(killed.body.failed, []);
    assert.equal((await node.call<NodeCoordination>('GET', path)).body.sessionsToEnd, 1);
    await redis.start();
    await until(
      'the store is seen',
      async () => (await node.call<NodeCoordination>('GET', path)).body.reachable,
    );
    await until(
      'the session is ended',
      async () => (await node.call<NodeCoordination>('GET', path)).body.sessionsToEnd === 0,
    );
  });
});
