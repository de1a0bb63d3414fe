import { strict as assert } from 'node:assert';
import { pino } from 'pino';
import type { Channel } from '#channel';
import { createFakeSystem, parseManifest, type FakeSystem, type HostState, type HostStatus } from '#core';
import type { StoredPackage } from '#package-manager';
import { HostProcess } from '../../../node-api/supervision/host-process.ts';
import type { LaunchProfile } from '../../../node-api/supervision/spare-plan.ts';
import { createSpares, type Spares } from '../../../node-api/supervision/spares.ts';

const quietMs = 1_000;
const calmMs = 60_000;
const mebibyte = 1024 * 1024;

describe('node API: spare hosts', () => {
  let system: FakeSystem;
  let current: StoredPackage | null;
  let store: string;
  let made: HostProcess[];
  let spares: Spares;
  let inUse: LaunchProfile[];
  let spareBytes: number;
  beforeEach(() => {
    system = createFakeSystem();
    current = hostPackage('1.0.0');
    store = 'embedded /a';
    made = [];
    inUse = [];
    spareBytes = 20 * mebibyte;
    spares = createSpares({
      system,
      log: pino({ level: 'silent' }),
      perProfile: 1,
      memoryBytes: 100 * mebibyte,
      inUse: () => inUse,
      memoryOf: () => spareBytes,
      hostPackage: () => current,
      store: () => store,
      async spawn({ packageVersion }, profile) {
        const host = makeHost(packageVersion, profile);
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
  function makeHost(packageVersion = '1.0.0', memoryMb: LaunchProfile = null): HostProcess {
    const record = {
      processId: `node-1-${system.random.id(6)}`,
      pid: 2 ** 30, // there is no such process
      startTime: 'never',
      secretSha256: '',
      packageName: 'component-host',
      packageVersion,
      memoryMb,
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

  const profiles = () => made.map(host => host.record.memoryMb);

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
    assert.equal(spares.take(current!, null), made[0]);
    const secondEnds = spares.startBegins();
    assert.equal(spares.take(current!, null), null);
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
    assert.equal(spares.take(current!, null), made[1]);
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
    assert.equal(spares.take(current!, null), null, 'a spare of the old store was given away');
    spares.refill();
    await settle();
    assert.equal(made[1]!.endExpected, true);
    assert.equal(spares.take(current!, null), made[2]);
  });

  it('of an earlier agent count and are taken only when they have said that they are spare', async () => {
    const spare = makeHost();
    spares.adopt(spare);
    spares.refill();
    await settle();
    assert.equal(made.length, 0);
    assert.equal(spares.ready(), 0);
    assert.equal(spares.take(current!, null), null);
    sayHello(spare, 'AwaitingConfiguration');
    await settle();
    assert.equal(spares.ready(), 1);
    assert.equal(spares.take(current!, null), spare);

    const busy = makeHost();
    spares.adopt(busy);
    sayHello(busy, 'Started');
    await settle();
    assert.equal(spares.ready(), 0);
    assert.equal(busy.endExpected, true);
  });

  it('are made for each profile in use, one after another, and given to their own profile only', async () => {
    inUse = [256, null, 256, 512];
    spares.refill();
    await settle();
    assert.deepEqual(profiles(), [null], 'the next one waits for the hello of the first');
    for (let turn = 0; turn < 3; turn++) {
      sayHello(made.at(-1)!, 'AwaitingConfiguration');
      await settle();
    }
    assert.deepEqual(profiles(), [null, 256, 512]);
    assert.equal(spares.take(current!, 128), null);
    assert.equal(spares.take(current!, 256), made[1]);
  });

  it('are no more than their memory allows, as soon as one shows how much it takes', async () => {
    inUse = [256];
    spareBytes = 60 * mebibyte;
    spares.refill();
    await settle();
    sayHello(made[0]!, 'AwaitingConfiguration');
    await system.advance(10_000);
    assert.deepEqual(profiles(), [null]);
    spareBytes = 10 * mebibyte;
    spares.refill();
    await system.advance(10_000);
    assert.deepEqual(profiles(), [null], 'what one has taken once, another may take again');
  });

  it('are given up when memory is short, and made again only after it has been enough for a while', async () => {
    spares.refill();
    await settle();
    spares.noteMemory(true);
    await settle();
    assert.equal(made[0]!.endExpected, true);
    assert.equal(spares.ready(), 0);
    await system.advance(calmMs - 1);
    spares.noteMemory(false);
    await settle();
    assert.equal(made.length, 1);
    await system.advance(1);
    spares.noteMemory(false);
    await settle();
    assert.equal(made.length, 2);
  });

  it('are made no more once it is closed', async () => {
    const startEnds = spares.startBegins();
    startEnds();
    spares.close();
    await system.advance(quietMs);
    assert.equal(made.length, 0);
  });
});
