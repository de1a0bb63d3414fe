import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, type Coordination } from '#core';
import { connectCoordination, coordinationAddress, startCoordinator, type Coordinator } from '#ownership';
import { ask, createFixtureOn, until, type Echo, type Fixture } from './support.ts';

describe('routers on the embedded store', () => {
  const system = createSystem();
  let stateRoot: string;
  let coordinator: Coordinator;
  let fixture: Fixture<Coordination>;
  let connections: Coordination[];

  async function connect(): Promise<Coordination> {
    const connection = await connectCoordination(coordinationAddress(stateRoot), { system });
    connections.push(connection);
    return connection;
  }

  beforeEach(async () => {
    connections = [];
    stateRoot = await mkdtemp(join(tmpdir(), 'router-'));
    coordinator = await startCoordinator({ stateRoot, system });
    fixture = await createFixtureOn(await connect());
  });
  afterEach(async () => {
    await fixture.dispose();
    for (const connection of connections) await connection.close();
    await coordinator.close();
    await rm(stateRoot, { recursive: true, force: true });
  });

  it('agree on one owner for each of 1,000 keys, also after a host has died', async () => {
    const hosts = [await fixture.host(), await fixture.host(), await fixture.host()];
    const routers = [await fixture.router({}, await connect()), await fixture.router({}, await connect())];

    async function ownersOfAll(): Promise<Map<string, string>> {
      const owners = new Map<string, string>();
      for (let first = 0; first < 1_000; first += 50) {
        await Promise.all(
          Array.from({ length: 50 }, async (_, offset) => {
            const path = `/db/k${first + offset}`;
            const [one, other] = await Promise.all(routers.map(router => ask(router, path)));
            assert.equal(one!.status, 200, one!.text);
            assert.equal(other!.status, 200, other!.text);
            assert.equal(one!.json<Echo>().processId, other!.json<Echo>().processId, path);
            owners.set(path, one!.json<Echo>().processId);
          }),
        );
      }
      return owners;
    }

    const before = await ownersOfAll();
    assert.equal(new Set(before.values()).size, 3);
    hosts[0]!.kill();
    await hosts[0]!.proveDeath();
    const after = await ownersOfAll();
    for (const [path, owner] of before) {
      if (owner !== hosts[0]!.processId) assert.equal(after.get(path), owner, path);
      else assert.notEqual(after.get(path), owner, path);
    }
  }).timeout(60_000);

  it('go on with what they know while the store is away, and find the rest when it is back', async () => {
    await fixture.host();
    const router = await fixture.router({}, await connect());
    assert.equal((await ask(router, '/db/a')).status, 200);
    await coordinator.close();
    assert.equal((await ask(router, '/db/a')).status, 200);
    const unknown = ask(router, '/db/b');
    await until(() => router.counters.held === 2, 'the unknown key is held');
    coordinator = await startCoordinator({ stateRoot, system });
    const answer = await unknown;
    assert.equal(answer.status, 200, answer.text);
  }).timeout(60_000);
});
