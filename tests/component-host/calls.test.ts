import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OWNER_HEADER, type HostConfiguration, type InstanceId, type ResourceKey } from '#core';
import { headerBlock } from '#frames';
import type { Host } from '#component-host';
import { createUpstreams } from '#ownership';
import { createCalls, type Calls } from '../../component-host/calls/calls.ts';
import {
  clusterSecret,
  configuration,
  eventually,
  openWorkspace,
  system,
  type Workspace,
} from './workspace.ts';

interface Told {
  instance: string;
  process: string;
  key: string | null;
  status?: number;
  next?: Told;
  body?: string;
  code?: string;
  details?: { calls?: string[]; circle?: string[] };
}

describe('calls between keys', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  let outside: Calls;
  beforeEach(async () => {
    workspace = await openWorkspace();
    // As a component's code that belongs to no request.
    outside = createCalls({
      system,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      coordination: workspace.coordination,
      clusterSecret,
      processId: 'test-1',
      pool: 'test' as InstanceId,
      concurrency: 0,
    });
  });
  afterEach(async () => {
    await outside.stop();
    await workspace.close();
  });

  async function host(pool: string, change: Partial<HostConfiguration> = {}): Promise<Host> {
    const started = await workspace.host();
    const settings = { journal: workspace.journal };
    await started.configure(configuration('caller', settings, { instanceId: pool as InstanceId, ...change }));
    await started.start();
    return started;
  }

  type Hop = [pool: string, key: string];
  /** The first hop from outside, each further one from the one before. */
  async function chain(first: Hop, ...further: Hop[]): Promise<Told> {
    const query = new URLSearchParams({ call: JSON.stringify(further) });
    const answer = await outside.resource(...first).fetch(`${first[1]}?${query.toString()}`);
    assert.equal(answer.status, 200);
    return (await answer.json()) as Told;
  }
  /** What the innermost call came to. */
  const last = (told: Told): Told => (told.next ? last(told.next) : told);

  it('reaches the owner of a key in another process, and a component that owns nothing', async () => {
    await Promise.all([host('left'), host('right'), host('balanced')]);
    const told = await chain(['left', '/a'], ['right', '/b'], ['balanced', '/c'], ['left', '/d']);
    assert.deepEqual(
      [told.instance, told.key, told.next?.instance, told.next?.key],
      ['left', '/a', 'right', '/b'],
    );
    assert.deepEqual([told.next?.next?.instance, told.next?.next?.key], ['balanced', null]);
    assert.deepEqual([last(told).instance, last(told).key], ['left', '/d']);
  });

  it('means the same key as the router does, however it is spelt, and refuses what is none', async () => {
    await host('left');
    for (const spelt of ['/a/b', '//a/./b/', '/%61/b']) {
      const answer = await outside.resource('left', spelt).fetch('/');
      assert.equal(((await answer.json()) as Told).key, '/a/b');
    }
    for (const bad of ['', 'a', '/a%', `/${'x'.repeat(2_000)}`]) {
      assert.throws(() => outside.resource('left', bad), { code: 'HF_KEY_INVALID' });
    }
  });

  it('streams both ways, with method, path, query and headers, and without what is Holdfast’s own', async () => {
    await host('left');
    const resource = outside.resource('left', '/a');
    const parts = ['one', 'two', 'three'];
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const pending = resource.fetch('/x/y?as=echo', {
      method: 'PUT',
      body: readable,
      headers: { 'x-asked': 'yes', 'x-holdfast-fence': '1' },
    });
    await writer.write(Buffer.from(parts[0]!));
    const answer = await pending;
    assert.equal(answer.headers.get('x-seen'), 'yes');
    assert.equal(answer.headers.get(OWNER_HEADER), null);
    const reader = answer.body!.getReader();
    for (const [index, part] of parts.entries()) {
      assert.equal(Buffer.from((await reader.read()).value!).toString(), part);
      const next = parts[index + 1];
      if (next) await writer.write(Buffer.from(next));
    }
    await writer.close();
    assert.equal((await reader.read()).done, true);
    const seen = (await (await resource.fetch('http://ignored/x/../y?as=headers&q=1')).json()) as {
      url: string;
      headers: Record<string, string>;
    };
    assert.equal(seen.url, 'http://left/y?as=headers&q=1');
    assert.ok(!Object.keys(seen.headers).some(name => name.startsWith('x-holdfast')));
  });

  it('hands a component’s own 421 through, and waits for a key that is given to another host', async () => {
    const first = await host('left');
    const own = await outside.resource('left', '/a').fetch('/a?as=own-421');
    assert.deepEqual([own.status, await own.text()], [421, 'mine']);
    const before = await chain(['left', '/a']);
    await host('left');
    const moving = first.stop();
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await system.timers.sleep(index * 5);
        return chain(['left', '/a']);
      }),
    );
    await moving;
    assert.notEqual(answers.at(-1)!.process, before.process);
  });

  it('rejects when nobody may own the key, and when the caller does not want it any more', async () => {
    const giveUp = AbortSignal.timeout(200);
    await assert.rejects(outside.resource('nobody', '/a').fetch('/', { signal: giveUp }), {
      name: 'TimeoutError',
    });
    await host('left');
    const running = outside.resource('left', '/a').fetch(`/a?gate=${join(workspace.directory, 'never')}`, {
      signal: AbortSignal.timeout(300),
    });
    await assert.rejects(running, { name: 'TimeoutError' });
    writeFileSync(join(workspace.directory, 'never'), '');
  });

  it('tells that the outcome is unknown when the owner breaks off, and does not send again what is not safe', async () => {
    const left = await host('left');
    const gate = join(workspace.directory, 'gate');
    const call = outside.resource('left', '/a').fetch(`/a?gate=${gate}`, { method: 'POST', body: 'once' });
    const failed = assert.rejects(call, { code: 'HF_OUTCOME_UNKNOWN' });
    await eventually(() => workspace.lines().includes('waits /a'), 'the request is there');
    left.abort();
    await left.shutdown({ graceMs: 1 });
    await failed;
    writeFileSync(gate, '');
    assert.equal(workspace.lines().filter(line => line === 'waits /a').length, 1);
  });

  describe('that come back to where they began', () => {
    it('are served where an instance serves any number at once', async () => {
      await Promise.all([host('left'), host('right')]);
      const told = await chain(['left', '/a'], ['right', '/b'], ['left', '/a']);
      assert.deepEqual([last(told).instance, last(told).key, last(told).code], ['left', '/a', undefined]);
    });

    it('are refused at once where it serves one at a time, naming the chain', async () => {
      await Promise.all([host('left', { concurrency: 1 }), host('right', { concurrency: 1 })]);
      const told = await chain(['left', '/a'], ['right', '/b'], ['left', '/a']);
      assert.equal(told.next?.code, 'HF_CALL_CYCLE');
      assert.deepEqual(told.next.details?.calls, ['left/a', 'right/b', 'left/a']);
      assert.equal(told.next.details.circle, undefined, 'nobody had to ask');
      const free = await chain(['left', '/a'], ['right', '/b'], ['left', '/other']);
      assert.equal(last(free).key, '/other');
    });

    it('are refused when they go too deep', async () => {
      await host('left');
      const hops = Array.from({ length: 40 }, (_, index): Hop => ['left', `/${index}`]);
      const told = last(await chain(hops[0]!, ...hops.slice(1)));
      assert.deepEqual([told.key, told.code], ['/32', 'HF_CALL_CYCLE']);
    });

    it('only wait while the turn is somebody else’s', async () => {
      await Promise.all([host('left', { concurrency: 1 }), host('right', { concurrency: 1 })]);
      const gate = join(workspace.directory, 'gate');
      const other = outside.resource('right', '/b').fetch(`/b?gate=${gate}`);
      await eventually(() => workspace.lines().includes('waits /b'), 'the turn is taken');
      const waiting = chain(['left', '/a'], ['right', '/b']);
      await system.timers.sleep(400); // long enough to have asked more than once
      writeFileSync(gate, '');
      assert.equal(last(await waiting).key, '/b');
      assert.equal((await other).status, 200);
    });

    for (const count of [2, 3]) {
      it(`are found out when ${count} chains wait for each other, and exactly one is refused`, async () => {
        const names = ['left', 'right', 'third'].slice(0, count);
        await Promise.all(names.map(name => host(name, { concurrency: 1 })));
        const gate = join(workspace.directory, 'gate');
        const chains = names.map(async (name, index) => {
          const call = JSON.stringify([[names[(index + 1) % count], '/k']]);
          const query = new URLSearchParams({ gate, call });
          return (await (await outside.resource(name, '/k').fetch(`/k?${query.toString()}`)).json()) as Told;
        });
        await eventually(
          () => workspace.lines().filter(line => line === 'waits /k').length === count,
          'each has its turn',
        );
        writeFileSync(gate, '');
        const told = await Promise.all(chains);
        const refused = told.filter(one => one.code !== undefined);
        assert.deepEqual(
          refused.map(one => one.code),
          ['HF_CALL_CYCLE'],
        );
        const { calls, circle } = refused[0]!.details!;
        assert.equal(calls?.length, 2);
        assert.deepEqual(circle?.toSorted(), names.map(name => `${name}/k`).sort());
      });
    }
  });

  it('believes nobody outside who says what waits for him', async () => {
    const left = await host('left', { concurrency: 1 });
    const forged = ['x-holdfast-calls', 'aaaaaaaaaaaaaaaa left/a left/a'];
    const upstreams = createUpstreams({ system, secret: clusterSecret, ownerTimeoutMs: 30_000 });
    const claim = await workspace.coordination.directory.claim('left' as InstanceId, '/a' as ResourceKey);
    assert.ok(claim.owned);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    upstreams.get({ ...claim.claim, address: left.uri }).send(
      {
        method: 'GET',
        target: '/a?as=echo',
        key: '/a',
        fence: claim.claim.fence,
        channel: '',
        headers: headerBlock(forged),
        body: null,
        more: false,
      },
      {
        onHead: ({ status }) => resolve(status),
        onData: () => true,
        onEnd() {},
        onDrain() {},
        onFailure: ({ type, text }) => reject(new Error(`${type}: ${text}`)),
      },
    );
    assert.equal(await promise, 200);
    upstreams.destroy();
  });

  it('opens no connection to the directory’s events before the first call', async () => {
    let watches = 0;
    const { directory, leases } = workspace.coordination;
    const counted = {
      leases,
      directory: Object.assign(Object.create(directory) as typeof directory, {
        watch(listener: Parameters<typeof directory.watch>[0]) {
          watches += 1;
          return directory.watch(listener);
        },
      }),
    };
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const pool = 'test' as InstanceId;
    const calls = createCalls({
      system,
      log,
      coordination: counted,
      clusterSecret,
      processId: 'p',
      pool,
      concurrency: 0,
    });
    const resource = calls.resource('left', '/a' satisfies string as ResourceKey);
    assert.equal(watches, 0);
    await host('left');
    assert.equal((await resource.fetch('/a')).status, 200);
    assert.equal(watches, 1);
    await calls.stop();
  });
});
