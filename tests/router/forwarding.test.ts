import assert from 'node:assert/strict';
import { type ErrorBody, type InstanceId, type ResourceKey } from '#core';
import { bridgeHeaders } from '../support/frames-bridge.ts';
import { ask, createFixture, echo, until, type Echo, type Fixture, type Handler } from './support.ts';

describe('forwarding', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  /** The host that owns a key, as one request finds out. */
  async function ownerOf(router: { address(): { port: number } }, key: string) {
    return (await ask(router, key)).json<Echo>().processId;
  }

  it('sends every request of a key to one host, through any router', async () => {
    await Promise.all([fixture.host(), fixture.host(), fixture.host()]);
    const routers = [await fixture.router(), await fixture.router()];
    const seen = new Map<string, Set<string>>();
    await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const key = `/db/k${index % 20}`;
        const answer = await ask(routers[index % 2]!, key);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.headers['x-holdfast-owner'], answer.json<Echo>().processId);
        seen.set(key, (seen.get(key) ?? new Set()).add(answer.json<Echo>().processId));
      }),
    );
    for (const [key, owners] of seen) assert.equal(owners.size, 1, key);
    assert.equal(new Set([...seen.values()].flatMap(owners => [...owners])).size, 3);
  });

  it('gives all spellings of a path to one owner, and forwards the canonical one', async () => {
    await Promise.all([fixture.host(), fixture.host()]);
    const router = await fixture.router();
    for (const path of ['/db/a', '/db//a', '/db/%61', '/db/./a', '/db/a/', '/x/../db/a']) {
      const echoed = (await ask(router, `${path}?q=%61/../b`)).json<Echo>();
      assert.equal(echoed.key, '/db/a', path);
      assert.equal(echoed.url, '/db/a?q=%61/../b', path);
    }
    assert.equal((await fixture.coordination.directory.list({})).claims.length, 1);
  });

  it('claims again and sends again after 421, also a POST with its whole body', async () => {
    const first = await fixture.host();
    const router = await fixture.router();
    await ownerOf(router, '/db/a');
    await fixture.host();
    // Takes the key away behind the router's back: same pool, no event reaches it.
    const { directory } = fixture.coordination;
    const claim = await directory.lookup('databases' as InstanceId, '/db/a' as ResourceKey);
    await directory.updateSession(first.sessionId, { draining: true });
    const raised = await directory.raiseFence(claim!, claim!.fence);
    assert.ok(raised);
    const answer = await ask(router, '/db/a', { method: 'POST', body: 'b'.repeat(100_000) });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json<Echo>().body.length, 100_000);
    assert.equal(answer.json<Echo>().headers[bridgeHeaders.fence], String(raised.fence));
    assert.equal(first.executed.filter(line => line.startsWith('POST')).length, 1);
    assert.equal(router.counters.notOwner, 1);
  });

  it('passes on a 421 that is the component’s own', async () => {
    await fixture.host({
      handler: (_request, response) => void response.writeHead(421, { 'x-own': 'yes' }).end('not here'),
    });
    const router = await fixture.router();
    const answer = await ask(router, '/db/a');
    assert.equal(answer.status, 421);
    assert.equal(answer.text, 'not here');
    assert.equal(answer.headers['x-own'], 'yes');
  });

  it('holds requests until a host comes', async () => {
    const router = await fixture.router();
    const answers = Promise.all([ask(router, '/db/a'), ask(router, '/db/a', { method: 'POST', body: 'b' })]);
    await until(() => router.counters.held === 2, 'both are held');
    await fixture.host();
    for (const answer of await answers) assert.equal(answer.status, 200, answer.text);
  });

  it('answers 503 with Retry-After when no host comes in time', async () => {
    await fixture.routes([{ pathPrefix: '/db', componentInstanceId: 'databases' }], {
      sessionTtlMs: 500,
      holdMs: 2_500,
    });
    const router = await fixture.router();
    const answer = await ask(router, '/db/a');
    assert.equal(answer.status, 503);
    assert.equal(answer.json<ErrorBody>().code, 'HF_NO_OWNER');
    assert.equal(answer.headers['retry-after'], '1');
    assert.ok(answer.headers['x-request-id']);
  });

  it('holds no more requests than it may', async () => {
    const router = await fixture.router({ maxHeldRequests: 2 });
    const held = Promise.all([ask(router, '/db/a'), ask(router, '/db/b')]);
    await until(() => router.counters.held === 2, 'two are held');
    const third = await ask(router, '/db/c');
    assert.equal(third.status, 503);
    assert.equal(third.json<ErrorBody>().code, 'HF_UNAVAILABLE');
    await fixture.host();
    for (const answer of await held) assert.equal(answer.status, 200);
  });

  it('serves known keys while the directory is away, and holds unknown ones until it is back', async () => {
    await fixture.host();
    const router = await fixture.router();
    await ownerOf(router, '/db/a');
    fixture.coordination.fail(true);
    assert.equal((await ask(router, '/db/a')).status, 200);
    const unknown = ask(router, '/db/b');
    await until(() => router.counters.held === 2, 'the unknown key is held');
    fixture.coordination.fail(false);
    assert.equal((await unknown).status, 200);
  });

  it('says that the directory is away when it stays away', async () => {
    await fixture.routes([{ pathPrefix: '/db', componentInstanceId: 'databases' }], {
      sessionTtlMs: 500,
      holdMs: 2_500,
    });
    await fixture.host();
    const router = await fixture.router();
    await ownerOf(router, '/db/a');
    fixture.coordination.fail(true);
    const answer = await ask(router, '/db/b');
    assert.equal(answer.status, 503);
    assert.equal(answer.json<ErrorBody>().code, 'HF_COORDINATION_UNAVAILABLE');
  });

  it('forgets all claims after a reset and finds them again', async () => {
    await fixture.host();
    const router = await fixture.router();
    const owner = await ownerOf(router, '/db/a');
    fixture.coordination.sendReset();
    assert.equal(await ownerOf(router, '/db/a'), owner);
  });

  it('balances a pool that owns nothing by requests in flight', async () => {
    const waiting: (() => void)[] = [];
    const handler: Handler = async (request, response, host) => {
      if (request.url!.endsWith('/slow')) await new Promise<void>(resolve => waiting.push(resolve));
      await echo(request, response, host);
    };
    await fixture.routes([{ pathPrefix: '/web', componentInstanceId: 'web' }]);
    const hosts = await Promise.all(
      [1, 2, 3].map(() => fixture.host({ pool: 'web', ownsResources: false, handler })),
    );
    const router = await fixture.router();
    const slow = [ask(router, '/web/slow'), ask(router, '/web/slow')];
    await until(() => waiting.length === 2, 'two hosts are busy');
    const busy = new Set(hosts.filter(host => host.executed.length > 0).map(host => host.processId));
    assert.equal(busy.size, 2);
    for (let round = 0; round < 5; round++) {
      const echoed = (await ask(router, '/web/x')).json<Echo>();
      assert.ok(!busy.has(echoed.processId as never));
      assert.equal(echoed.key, null);
    }
    for (const go of waiting) go();
    await Promise.all(slow);
  });

  it('sends nothing new to hosts of such a pool that drain or are not ready', async () => {
    await fixture.routes([{ pathPrefix: '/web', componentInstanceId: 'web' }]);
    const [draining, unready, good] = await Promise.all(
      [1, 2, 3].map(() => fixture.host({ pool: 'web', ownsResources: false })),
    );
    const router = await fixture.router();
    await fixture.coordination.directory.updateSession(draining!.sessionId, { draining: true });
    await fixture.coordination.directory.updateSession(unready!.sessionId, { ready: false });
    for (let round = 0; round < 6; round++) {
      assert.equal((await ask(router, '/web/x')).json<Echo>().processId, good!.processId);
    }
  });

  describe('when a host dies', () => {
    /** A host that dies in the middle of its first request, and a second host that takes over once its death is proven. */
    async function dying(where: 'before the response' | 'in the middle of the response') {
      const struck = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<void>();
      let deaths = 0;
      const handler: Handler = async (request, response, host) => {
        if (deaths++ > 0) return echo(request, response, host);
        if (where === 'in the middle of the response') {
          response.writeHead(200, { 'content-length': '1000' });
          response.write('begun');
          await begun.promise;
        }
        for await (const _chunk of request); // executed, perhaps
        host.kill();
        struck.resolve();
      };
      const [first, second] = [await fixture.host({ handler }), await fixture.host({ handler })];
      const router = await fixture.router();
      return {
        router,
        struck: struck.promise,
        /** The client has seen the beginning of the response. */
        begun: begun.resolve,
        proof: async () => {
          await struck.promise;
          const dead = [first, second].find(host => !host.server.listening)!;
          await dead.proveDeath();
        },
        executions: () => first.executed.length + second.executed.length,
      };
    }

    it('sends a GET again to the new owner, once its death is proven', async () => {
      const { router, proof, executions } = await dying('before the response');
      const answer = ask(router, '/db/a');
      await proof();
      assert.equal((await answer).status, 200);
      assert.equal(executions(), 2);
    });

    it('keeps the GET waiting as long as the directory still names the dead one', async () => {
      const { router, struck, proof } = await dying('before the response');
      const answer = ask(router, '/db/a');
      await struck;
      await until(() => router.counters.unreachable >= 2, 'it has looked for the dead one again');
      await proof();
      assert.equal((await answer).status, 200);
    });

    it('does not send a POST again, and says that its outcome is unknown', async () => {
      const { router, proof, executions } = await dying('before the response');
      const [answer] = await Promise.all([ask(router, '/db/a', { method: 'POST', body: 'b' }), proof()]);
      assert.equal(answer.status, 502);
      assert.equal(answer.json<ErrorBody>().code, 'HF_OUTCOME_UNKNOWN');
      assert.equal(answer.headers['x-holdfast-owner'], undefined);
      assert.equal(executions(), 1);
    });

    it('sends a POST with an idempotency key again, with its whole body', async () => {
      const { router, proof } = await dying('before the response');
      const [answer] = await Promise.all([
        ask(router, '/db/a', {
          method: 'POST',
          body: 'b'.repeat(200_000),
          headers: { 'idempotency-key': '1' },
        }),
        proof(),
      ]);
      assert.equal(answer.status, 200);
      assert.equal(answer.json<Echo>().body, 'b'.repeat(200_000));
    });

    it('does not send a PUT again of whose body too much is gone', async () => {
      const { router, proof } = await dying('before the response');
      const [answer] = await Promise.all([
        ask(router, '/db/a', { method: 'PUT', body: Buffer.alloc(2_000_000) }),
        proof(),
      ]);
      assert.equal(answer.status, 502);
      assert.equal(answer.json<ErrorBody>().code, 'HF_OUTCOME_UNKNOWN');
    });

    it('breaks the client’s connection when the response had begun', async () => {
      const { router, begun, proof } = await dying('in the middle of the response');
      const answer = await fetch(`${router.uri}/db/a`);
      begun();
      await Promise.all([assert.rejects(answer.text()), proof()]);
    });

    it('sends what never reached it to the new owner, also a POST', async () => {
      const hosts = [await fixture.host(), await fixture.host()];
      const router = await fixture.router();
      const owner = await ownerOf(router, '/db/a');
      const dead = hosts.find(host => host.processId === owner)!;
      dead.kill();
      const answer = ask(router, '/db/a', { method: 'POST', body: 'b' });
      await until(() => router.counters.unreachable >= 1, 'the dead one was tried');
      await dead.proveDeath();
      assert.equal((await answer).status, 200);
    });

    it('gives up on a node that vanished as soon as its session has ended', async () => {
      const stuck = await fixture.host({ handler: () => {} });
      const router = await fixture.router();
      const answer = ask(router, '/db/a');
      await until(() => stuck.executed.length === 1, 'the request is with the host');
      await fixture.host();
      await stuck.proveDeath(); // its connections stay open, as a partition leaves them
      assert.equal((await answer).status, 200);
    });

    it('stops after three attempts that broke off', async () => {
      const handler: Handler = request => void request.socket.destroy();
      const hosts = await Promise.all([1, 2, 3, 4].map(() => fixture.host({ handler })));
      const router = await fixture.router();
      const answer = await ask(router, '/db/a');
      assert.equal(answer.status, 502);
      assert.equal(hosts.flatMap(host => host.executed).length, 3);
    });
  });

  it('answers 504 with an unknown outcome when the owner does not begin to answer', async () => {
    const host = await fixture.host({ handler: () => {} });
    const router = await fixture.router({ ownerTimeoutMs: 300 });
    const answer = await ask(router, '/db/a');
    assert.equal(answer.status, 504);
    assert.deepEqual(
      { statusCode: answer.json<ErrorBody>().statusCode, code: answer.json<ErrorBody>().code },
      { statusCode: 504, code: 'HF_OUTCOME_UNKNOWN' },
    );
    assert.equal(host.executed.length, 1);
  });

  it('ends the attempt when the client goes away', async () => {
    const closed = Promise.withResolvers<void>();
    const host = await fixture.host({
      handler: request => void request.socket.once('close', () => closed.resolve()),
    });
    const router = await fixture.router();
    const controller = new AbortController();
    const answer = fetch(`${router.uri}/db/a`, { signal: controller.signal });
    await until(() => host.executed.length === 1, 'the request is with the host');
    controller.abort();
    await assert.rejects(answer);
    await closed.promise;
    await until(() => router.counters.active === 0, 'the router has let go');
  });

  it('passes on a host’s own 503 as it is', async () => {
    await fixture.host({
      handler: (_request, response) =>
        void response
          .writeHead(503, { 'content-type': 'application/json', 'retry-after': '7' })
          .end('{"code":"HF_RESOURCE_OPEN_FAILED"}'),
    });
    const answer = await ask(await fixture.router(), '/db/a');
    assert.equal(answer.status, 503);
    assert.equal(answer.headers['retry-after'], '7');
    assert.equal(answer.json<ErrorBody>().code, 'HF_RESOURCE_OPEN_FAILED');
  });

  it('lets requests in flight finish when it stops, and accepts none more', async () => {
    const go = Promise.withResolvers<void>();
    const host = await fixture.host({
      handler: async (request, response, self) => {
        await go.promise;
        await echo(request, response, self);
      },
    });
    const router = await fixture.router();
    const answer = ask(router, '/db/a');
    await until(() => host.executed.length === 1, 'the request is with the host');
    const { port } = router.address();
    const stopped = router.stop(AbortSignal.timeout(10_000));
    await assert.rejects(ask({ address: () => ({ port }) }, '/db/b'));
    go.resolve();
    assert.equal((await answer).status, 200);
    await stopped;
  });

  it('says which port is in use', async () => {
    const first = await fixture.router();
    await assert.rejects(fixture.router({ port: first.address().port }), {
      code: 'HF_PORT_IN_USE',
      message: new RegExp(`:${first.address().port}`),
    });
  });

  it('takes over new routes, and keeps the last ones when the stored settings are broken', async () => {
    await fixture.host();
    const router = await fixture.router();
    await fixture.routes([{ pathPrefix: '/other', componentInstanceId: 'databases' }]);
    await until(async () => (await ask(router, '/other/a')).status === 200, 'the new route');
    assert.equal((await ask(router, '/db/a')).status, 404);
    const { documents } = fixture.coordination;
    await documents.put('settings', '{"text":"{"}', (await documents.get('settings'))!.etag);
    assert.equal((await ask(router, '/other/a')).status, 200);
  });

  it('answers 503 until the settings have come', async () => {
    const { documents } = fixture.coordination;
    const watch = documents.watch.bind(documents);
    documents.watch = () => () => {};
    const router = await fixture.router();
    documents.watch = watch;
    const answer = await ask(router, '/db/a');
    assert.equal(answer.status, 503);
    assert.equal(answer.json<ErrorBody>().code, 'HF_UNAVAILABLE');
    assert.equal((await ask(router, '/')).status, 200);
  });
});
