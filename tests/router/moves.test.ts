import assert from 'node:assert/strict';
import type { Claim, InstanceId, ResourceKey } from '#core';
import type { Router } from '#router';
import { ask, createFixture, echo, until, type Echo, type Fixture, type Host } from './support.ts';

const pool = 'databases' as InstanceId;
type Page = { bounds: Record<string, { now: number; max: number }>; counters: Record<string, number> };

describe('routers and keys that move', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  const keyOf = (path: string) => path as ResourceKey;
  const claimOf = async (path: string): Promise<Claim> =>
    (await fixture.coordination.directory.lookup(pool, keyOf(path)))!;

  /** As a host does it: stops accepting, finishes what is in flight, hands over. */
  async function handOff(hosts: Host[], path: string): Promise<void> {
    const claim = await claimOf(path);
    const from = hosts.find(host => host.sessionId === claim.sessionId)!;
    const to = hosts.find(host => host !== from)!;
    from.givingAway.add(path);
    await until(() => !from.busy.has(path), 'nothing is in flight');
    const { held } = await fixture.coordination.directory.transfer(claim, to.sessionId);
    assert.ok(held);
    from.givingAway.delete(path);
  }

  /** Counts what the routers ask of the directory from now on. */
  function countClaims(): () => number {
    const { directory } = fixture.coordination;
    const [claim, claimMany] = [directory.claim.bind(directory), directory.claimMany.bind(directory)];
    let claims = 0;
    directory.claim = (...of) => {
      claims += 1;
      return claim(...of);
    };
    directory.claimMany = (of, keys) => {
      claims += keys.length;
      return claimMany(of, keys);
    };
    return () => claims;
  }

  it('lose no request while keys move under load, and none is executed twice', async () => {
    const hosts = [await fixture.host(), await fixture.host(), await fixture.host()];
    const routers = [await fixture.router(), await fixture.router()];
    const paths = Array.from({ length: 10 }, (_, index) => `/db/k${index}`);
    for (const path of paths) for (const router of routers) await ask(router, path);
    for (const host of hosts) host.executed.length = 0;
    let moving = true;
    let sent = 0;
    async function client(router: Router, offset: number): Promise<void> {
      for (let round = 0; moving; round += 1) {
        const path = paths[(offset + round) % paths.length]!;
        sent += 1;
        const answer = await ask(router, `${path}?n=${offset}-${round}`, { method: 'POST', body: 'once' });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json<Echo>().body, 'once');
      }
    }
    const clients = routers.flatMap((router, which) =>
      Array.from({ length: 5 }, (_, index) => client(router, which * 5 + index)),
    );
    for (let move = 0; move < 60; move += 1) await handOff(hosts, paths[move % paths.length]!);
    moving = false;
    await Promise.all(clients);
    const executed = hosts.flatMap(host => host.executed);
    assert.equal(executed.length, sent);
    assert.equal(new Set(executed).size, sent);
  }).timeout(60_000);

  it('learn of a move by one push, and claim nothing', async () => {
    const hosts = [await fixture.host(), await fixture.host()];
    const router = await fixture.router();
    const before = (await ask(router, '/db/a')).json<Echo>().processId;
    const claims = countClaims();
    await handOff(hosts, '/db/a');
    assert.notEqual((await ask(router, '/db/a')).json<Echo>().processId, before);
    assert.equal(claims(), 0);
    assert.equal(router.counters.notOwner, 0);
  });

  it('let requests wait for the news instead of asking again and again', async () => {
    const hosts = [await fixture.host(), await fixture.host()];
    const router = await fixture.router();
    await ask(router, '/db/a');
    const claim = await claimOf('/db/a');
    const from = hosts.find(host => host.sessionId === claim.sessionId)!;
    const to = hosts.find(host => host !== from)!;
    from.givingAway.add('/db/a');
    const [claims, asked] = [countClaims(), from.asked];
    const answers = Array.from({ length: 10 }, () => ask(router, '/db/a'));
    const waiting = async () => (await ask(router, '/')).json<Page>().bounds.heldRequests!.now;
    await until(async () => (await waiting()) === 10, 'all are held');
    await new Promise(resolve => setTimeout(resolve, 200));
    const late = ask(router, '/db/a');
    await until(async () => (await waiting()) === 11, 'who comes later, too');
    assert.ok(claims() <= 2, `${claims()} claims`);
    assert.ok(from.asked - asked <= 11, `${from.asked - asked} requests to a host that had refused`);
    await fixture.coordination.directory.transfer(claim, to.sessionId);
    for (const answer of await Promise.all([...answers, late])) {
      assert.equal(answer.json<Echo>().processId, to.processId);
    }
    assert.ok(claims() <= 2, `${claims()} claims`);
  });

  it('hold requests for a paused key until it is resumed', async () => {
    await fixture.host();
    const router = await fixture.router();
    const { directory } = fixture.coordination;
    await directory.pauseKey(pool, keyOf('/db/a'));
    const answer = ask(router, '/db/a');
    await until(() => router.counters.held === 1, 'it is held');
    assert.equal((await ask(router, '/db/b')).status, 200);
    await directory.resumeKey(pool, keyOf('/db/a'));
    assert.equal((await answer).status, 200);
  });

  it('answer 503 with Retry-After for a key that stays paused', async () => {
    await fixture.routes([{ pathPrefix: '/db', componentInstanceId: 'databases' }], {
      sessionTtlMs: 500,
      holdMs: 2_500,
    });
    await fixture.host();
    const router = await fixture.router();
    await fixture.coordination.directory.pauseKey(pool, keyOf('/db/a'));
    const answer = await ask(router, '/db/a');
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
    assert.equal(answer.json<{ code: string }>().code, 'HF_KEY_PAUSED');
    assert.equal(router.counters.heldInVain, 1);
  });

  it('hold requests while the store collects what it has forgotten', async () => {
    await fixture.host();
    const router = await fixture.router();
    const { directory } = fixture.coordination;
    const claim = directory.claim.bind(directory);
    let asked = 0;
    directory.claim = (...of) => {
      asked += 1;
      return asked <= 3 ? Promise.resolve({ owned: false, reason: 'recovering' }) : claim(...of);
    };
    assert.equal((await ask(router, '/db/a')).status, 200);
    assert.equal(asked, 4);
  });

  it('go on serving what they know after a gap, however slow the store is', async () => {
    const host = await fixture.host();
    const router = await fixture.router();
    await ask(router, '/db/a');
    const { directory } = fixture.coordination;
    const sessions = directory.sessions.bind(directory);
    directory.sessions = () => new Promise(() => {}); // the listing never ends
    const claims = countClaims();
    fixture.coordination.sendReset();
    assert.equal((await ask(router, '/db/a')).json<Echo>().processId, host.processId);
    directory.sessions = sessions;
    assert.equal(claims(), 0);
  });

  it('go on serving what they know when the store names no session at first', async () => {
    const host = await fixture.host();
    const router = await fixture.router();
    await ask(router, '/db/a');
    const { directory } = fixture.coordination;
    const sessions = directory.sessions.bind(directory);
    const listed = Promise.withResolvers<void>();
    directory.sessions = async () => {
      listed.resolve();
      return [];
    };
    fixture.coordination.sendReset();
    await listed.promise;
    const claims = countClaims();
    assert.equal((await ask(router, '/db/a')).json<Echo>().processId, host.processId);
    assert.equal(claims(), 0);
    directory.sessions = sessions;
  });

  it('pass on a component’s own 421, whatever it says, and that of a HEAD', async () => {
    const body = JSON.stringify({ statusCode: 421, code: 'HF_NOT_OWNER', message: 'mine' });
    const host = await fixture.host({
      handler: (_request, response) =>
        void response.writeHead(421, { 'content-type': 'application/json', 'x-own': 'yes' }).end(body),
    });
    const router = await fixture.router();
    const answer = await ask(router, '/db/a', { headers: { 'x-holdfast-refused': 'not-owner' } });
    assert.deepEqual([answer.status, answer.text, answer.headers['x-own']], [421, body, 'yes']);
    const head = await ask(router, '/db/a', { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['x-own']], [421, 'yes']);
    assert.equal(head.headers['x-holdfast-refused'], undefined);
    assert.equal(host.executed.length, 2, 'neither was sent again');
  });

  it('send a HEAD again that a guard refused', async () => {
    const hosts = [await fixture.host(), await fixture.host()];
    const router = await fixture.router();
    await ask(router, '/db/a');
    const { directory } = fixture.coordination;
    // Behind the router's back: what the event says concerns another key.
    const claim = await claimOf('/db/a');
    await directory.raiseFence(claim, claim.fence);
    assert.equal((await ask(router, '/db/a', { method: 'HEAD' })).status, 200);
    assert.equal(hosts.flatMap(host => host.executed).filter(line => line.startsWith('HEAD')).length, 1);
  });

  it('bound what they hold in number and bytes, over all routes, and show how much it is', async () => {
    await fixture.routes([
      { pathPrefix: '/db', componentInstanceId: 'databases' },
      { pathPrefix: '/other', componentInstanceId: 'other' },
    ]);
    const router = await fixture.router({ maxHeldBytes: 25_000, maxHeldRequests: 3 });
    const page = async () => (await ask(router, '/')).json<Page>();
    const body = 'b'.repeat(10_000);
    const held = ['/db/a', '/other/a', '/db/b'].map(path => ask(router, path, { method: 'POST', body }));
    await until(() => router.counters.held === 3, 'all wait');
    const { bounds } = await page();
    assert.deepEqual(bounds.heldRequests, { now: 3, max: 3 });
    assert.deepEqual(
      bounds.heldBytes,
      { now: 20_000, max: 25_000 },
      'the third is not read before it is sent',
    );
    assert.equal((await ask(router, '/db/c')).status, 503);
    assert.equal((await page()).counters.heldFull, 1);
    assert.equal((await page()).counters.unkept, 1);
    await Promise.all([fixture.host({ handler: echo }), fixture.host({ pool: 'other' })]);
    for (const answer of await Promise.all(held)) assert.equal(answer.json<Echo>().body, body);
    const after = await page();
    assert.equal(after.bounds.heldBytes!.now, 0);
    assert.equal(after.bounds.heldRequests!.now, 0);
    assert.equal(after.bounds.knownKeys!.now, 3);
    assert.ok(after.counters.heldMs! > 0);
  });
});
