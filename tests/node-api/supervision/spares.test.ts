import { strict as assert } from 'node:assert';
import { pino } from 'pino';
import type { Channel } from '#channel';
import { createFakeSystem, parseManifest, type FakeSystem, type HostState, type HostStatus } from '#core';
import type { StoredPackage } from '#package-manager';
import { HostProcess } from '../../../node-api/supervision/host-process.ts';
import { createSpares, type Spares } from '../../../node-api/supervision/spares.ts';

const quietMs = 1_000;

describe('node API: spare hosts', () => {
  let system: FakeSystem;
  let current: StoredPackage | null;
  let store: string;
  let made: HostProcess[];
  let spares: Spares;
  beforeEach(() => {
    system = createFakeSystem();
    current = hostPackage('1.0.0');
    store = 'embedded /a';
    made = [];
    spares = createSpares({
      system,
      log: pino({ level: 'silent' }),
      wanted: 1,
      hostPackage: () => current,
      store: () => store,
      async spawn({ packageVersion }) {
        const host = makeHost(packageVersion);
        made.push(host);
        return host;
      },
      forget() {},
    });
  });

  function hostPackage(packageVersion: string): StoredPackage {
    const named = { packageName: 'component-host', packageVersion, kind: 'host' } as const;
    return {
      ...named,
      description: '',
      sha256: '',
      sizeBytes: 0,
      current: true,
      installedAt: '',
      status: 'ok',
      manifest: parseManifest(JSON.stringify({ ...named, main: 'index.js' })),
      directory: '/nowhere',
    };
  }

  /** A host that no process stands behind; it never says hello by itself. */
  function makeHost(packageVersion = '1.0.0'): HostProcess {
    const record = {
      processId: `node-1-${system.random.id(6)}`,
      pid: null,
      startTime: null,
      secretSha256: '',
      packageName: 'component-host',
      packageVersion,
      memoryMb: null,
      store,
      spawnedBootMs: 0,
    };
    return new HostProcess(record, { system, onGone: async () => {}, onStatus() {} });
  }

  function sayHello(host: HostProcess, state: HostState): void {
    const silent: Channel = {
      request: () => new Promise(() => {}),
      notify() {},
      handle() {},
      listen() {},
      closed: new Promise(() => {}),
      close() {},
    };
    const status: HostStatus = {
      state,
      hostUri: 'http://127.0.0.1:5200',
      component: null,
      publisher: null,
      health: { ready: true },
      ownedKeys: 0,
      errors: [],
    };
    host.attach(silent, status);
  }

  /** Lets what is ready happen. */
  const settle = () => system.advance(0);

  it('are made at once as long as nothing has been started', async () => {
    current = null;
    spares.refill();
    await settle();
    assert.equal(made.length, 0);
    current = hostPackage('1.0.0');
    spares.refill();
    await settle();
    assert.equal(made.length, 1);
    assert.equal(spares.ready(), 1);
  });

  it('are made again only when no start has been under way for a moment', async () => {
    spares.refill();
    await settle();
    const firstEnds = spares.startBegins();
    assert.equal(spares.take(current!), made[0]);
    const secondEnds = spares.startBegins();
    assert.equal(spares.take(current!), null);
    spares.refill(); // a package came meanwhile
    firstEnds();
    await system.advance(60_000);
    assert.equal(made.length, 1, 'the second start is under way');
    secondEnds();
    spares.refill();
    await system.advance(quietMs - 1);
    assert.equal(made.length, 1, 'it is not quiet yet');
    const thirdEnds = spares.startBegins();
    await system.advance(quietMs);
    thirdEnds();
    await system.advance(quietMs - 1);
    assert.equal(made.length, 1, 'the moment begins anew with each start');
    await system.advance(1);
    assert.equal(made.length, 2);
    assert.equal(spares.ready(), 1);
    assert.equal(spares.take(current!), made[1]);
    spares.refill();
    await settle();
    assert.equal(made.length, 3, 'quiet is quiet');
  });

  it('end at once when they are out of date, also while a start is under way', async () => {
    spares.refill();
    await settle();
    const startEnds = spares.startBegins();
    current = hostPackage('2.0.0');
    spares.refill();
    await settle();
    assert.equal(spares.ready(), 0);
    assert.equal(made[0]!.endExpected, true);
    startEnds();
    await system.advance(quietMs);
    assert.deepEqual(
      made.map(host => host.record.packageVersion),
      ['1.0.0', '2.0.0'],
    );
  });

  it('end at once when hosts are launched with another coordination store, also one that is being made', async () => {
    spares.refill();
    store = 'redis a:6379/0';
    await settle();
    assert.equal(made[0]!.endExpected, true, 'it was being made with the old store');
    assert.equal(made[1]!.record.store, store);
    store = 'redis b:6379/0';
    assert.equal(spares.take(current!), null, 'a spare of the old store was given away');
    spares.refill();
    await settle();
    assert.equal(made[1]!.endExpected, true);
    assert.equal(spares.take(current!), made[2]);
  });

  it('of an earlier agent count and are taken only when they have said that they are spare', async () => {
    const spare = makeHost();
    spares.adopt(spare);
    spares.refill();
    await settle();
    assert.equal(made.length, 0);
    assert.equal(spares.ready(), 0);
    assert.equal(spares.take(current!), null);
    sayHello(spare, 'AwaitingConfiguration');
    await settle();
    assert.equal(spares.ready(), 1);
    assert.equal(spares.take(current!), spare);

    const busy = makeHost();
    spares.adopt(busy);
    sayHello(busy, 'Started');
    await settle();
    assert.equal(spares.ready(), 0);
    assert.equal(busy.endExpected, true);
  });

  it('are made no more once it is closed', async () => {
    const startEnds = spares.startBegins();
    startEnds();
    spares.close();
    await system.advance(quietMs);
    assert.equal(made.length, 0);
  });
});
