/** What operators say of nodes and of reconciliation: it holds, whoever leads, and changes nothing that holds already. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createSystem, type MasterStatus } from '#core';
import { cordoned, countMoves, drained, movesLeft } from '#node-manager';
import { zipOf } from './fake-node.ts';
import { copyCounts, createCluster, secret, until, type Cluster } from './running-manager.ts';

const asked = { by: 'ada', reason: 'new disk', deadlineMs: null };

describe('maintenance of nodes', () => {
  it('knows what a repeated word means', () => {
    const now = '2026-01-01T00:00:00.000Z';
    const nowMs = Date.parse(now);
    const first = cordoned(null, asked, now);
    assert.deepEqual(first, {
      state: 'cordoned',
      since: now,
      by: 'ada',
      reason: 'new disk',
      deadlineAt: null,
    });
    assert.equal(cordoned(first, { ...asked, by: 'bob' }, '2026-01-02T00:00:00.000Z'), first);
    const draining = drained(first, { ...asked, by: 'bob', deadlineMs: 60_000 }, nowMs);
    assert.deepEqual(draining, {
      state: 'draining',
      since: now,
      by: 'bob',
      reason: 'new disk',
      deadlineAt: '2026-01-01T00:01:00.000Z',
    });
    assert.equal(drained(draining, asked, nowMs + 1), draining);
    assert.equal(
      drained(draining, { ...asked, deadlineMs: 0 }, nowMs).deadlineAt,
      '2026-01-01T00:00:00.000Z',
    );
    assert.equal(cordoned(draining, asked, now), draining);
  });

  it('never lets more copies move within an hour than the settings allow, whoever counts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 50 }),
        fc.array(fc.tuple(fc.nat({ max: 90 * 60_000 }), fc.nat({ max: 30 })), { maxLength: 60 }),
        (perHour, wishes) => {
          let note = {};
          let nowMs = Date.parse('2026-01-01T00:00:30.000Z');
          const made: [number, number][] = [];
          for (const [afterMs, wish] of wishes) {
            nowMs += afterMs;
            const moves = Math.min(wish, movesLeft(note, perHour, nowMs));
            note = countMoves(note, moves, nowMs);
            made.push([nowMs, moves]);
            const lastHour = made.filter(([atMs]) => atMs > nowMs - 3_600_000);
            assert(lastHour.reduce((sum, [, count]) => sum + count, 0) <= perHour);
          }
          assert(Object.keys(note).length <= 62);
          assert.equal(movesLeft(note, perHour, nowMs + 3_661_000), perHour);
        },
      ),
    );
  });

  describe('of a running manager', function () {
    this.timeout(30_000);
    let cluster: Cluster;
    afterEach(() => cluster.stop());

    async function clusterWith(nodeCount: number, instances: number): Promise<void> {
      const one = { id: 'one', packageName: 'app', instances };
      cluster = await createCluster(nodeCount, { componentInstances: [one] as never });
      await uploadTo(cluster.nodes[0]!.uri(), '1.0.0');
    }
    async function uploadTo(uri: string, version: string): Promise<void> {
      await fetch(`${uri}/api/node/packages`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
        body: new Uint8Array(zipOf('app', version)),
      });
    }
    const settled = (counts: number[]) =>
      until(
        () => copyCounts(cluster, 'one'),
        seen => JSON.stringify(seen) === JSON.stringify(counts),
      );

    it('is shown in the status, told as an event, lifted again, and refused for nodes that are not there', async () => {
      await clusterWith(2, 2);
      const { client } = await cluster.start();
      await settled([1, 1]);
      const stop = new AbortController();
      const told: unknown[] = [];
      const listening = (async () => {
        for await (const event of client.events(stop.signal)) {
          if (event.type === 'maintenance') told.push([event.nodeName, event.state, event.by]);
        }
      })().catch(() => {}); // aborted
      const answer = await client.cordon('node-1', { reason: 'new disk' });
      assert.equal(answer.maintenance!.state, 'cordoned');
      assert.deepEqual(await client.cordon('node-1'), answer);
      await client.drain('node-2', { deadlineMs: 3_600_000 });
      const [first, second] = await client.nodes();
      assert.deepEqual([first!.maintenance, first!.copies, first!.drained], [answer.maintenance, 1, false]);
      assert.equal(second!.maintenance!.state, 'draining');
      assert.match(answer.maintenance!.by, /^api/);
      await client.undrain('node-1');
      await client.undrain('node-1');
      await client.undrain('node-2');
      assert.deepEqual(
        (await client.nodes()).map(node => node.maintenance),
        [null, null],
      );
      await assert.rejects(client.drain('node-9'), { code: 'HF_NOT_FOUND', message: /node-1, node-2/ });
      await assert.rejects(client.drain('node-1', { deadlineMs: -1 }), { code: 'HF_REQUEST_INVALID' });
      await until(
        () => told.length,
        count => count === 4,
      );
      stop.abort();
      await listening;
      assert.deepEqual(
        told.map(event => (event as unknown[]).slice(0, 2)),
        [
          ['node-1', 'cordoned'],
          ['node-2', 'draining'],
          ['node-1', null],
          ['node-2', null],
        ],
      );
    });

    it('holds on when another manager leads, and when the store has forgotten', async () => {
      await clusterWith(1, 1);
      const first = await cluster.start({ leaseTtlMs: 500 });
      const second = await cluster.start({ processId: 'manager-2', withFile: false, leaseTtlMs: 500 });
      await cluster.replaceFile(JSON.stringify({ ...cluster.document, syncIntervalMs: 200 }));
      const { maintenance } = await first.client.cordon('node-1');
      await first.client.pauseReconciliation({ reason: 'works' });
      await until(
        () => second.client.status(),
        status => status.reconciliationPaused !== null && status.nodes[0]?.maintenance !== null,
      );
      cluster.coordination.forgetDocuments();
      await first.stop();
      const status = await until(
        () => second.client.status(),
        seen => seen.isLeader,
      );
      assert.deepEqual(status.nodes[0]!.maintenance, maintenance);
      assert.equal(status.reconciliationPaused!.reason, 'works');
      await until(
        () => cluster.coordination.documents.get('maintenance'),
        document => document !== null,
      );
    });

    it('while reconciliation is paused, plans are shown and nothing is done, not even in place of what crashed', async () => {
      await clusterWith(1, 2);
      const { client } = await cluster.start();
      await settled([2]);
      const { paused } = await client.pauseReconciliation({ reason: 'works' });
      assert.deepEqual(await client.pauseReconciliation(), { paused });
      const [node] = cluster.nodes;
      const marks = node!.marks.length;
      node!.crash(node!.processes[0]!.processId);
      const { actions } = await until(
        () => client.plan(),
        plan => plan.actions.length > 0,
      );
      assert.equal(actions[0]!.type, 'start');
      await assert.rejects(client.sync(), { code: 'HF_WRONG_STATE', message: /paused since .* \(works\)/ });
      const status: MasterStatus = await client.status();
      assert.deepEqual(status.reconciliationPaused, paused);
      const headers = { authorization: `Bearer ${secret}` };
      const metrics = await (await fetch(`${client.uri}/metrics`, { headers })).text();
      assert.match(metrics, /holdfast_reconciliation_paused 1/);
      assert.deepEqual([copyCounts(cluster, 'one'), node!.marks.length], [[1], marks]);
      assert.deepEqual(await client.resumeReconciliation(), { paused: null });
      await settled([2]);
    });

    it('while reconciliation is paused, no deadline of a deployment passes', async () => {
      const update = { healthyAfterMs: 50, deadlineMs: 10_000, autoRollback: true };
      const one = { id: 'one', packageName: 'app', instances: 1, update };
      cluster = await createCluster(1, { componentInstances: [one] as never });
      const [node] = cluster.nodes;
      await uploadTo(node!.uri(), '1.0.0');
      let aheadMs = 0;
      const real = createSystem();
      const clock = { ...real.clock, monotonicMs: () => real.clock.monotonicMs() + aheadMs };
      const { client } = await cluster.start({
        system: { ...real, clock },
        leaseTtlMs: 120_000,
        deadAfterMs: 120_000,
      });
      await settled([1]);
      node!.onStart = (_name, request, process) => {
        if (request.version === '2.0.0') process.host!.health = { ready: false };
      };
      await client.uploadPackage(zipOf('app', '2.0.0'), { makeCurrent: true });
      const unready = await until(
        () => node!.processes.find(({ packageVersion }) => packageVersion === '2.0.0'),
        found => found !== undefined,
      );
      await client.sync();
      await client.pauseReconciliation();
      await until(
        () => client.syncStatus(),
        status => status.running === null,
      );
      // The time that a step may take passes, and more than that.
      aheadMs = 20_000;
      await client.resumeReconciliation();
      await client.sync();
      unready!.host!.health = { ready: true };
      const [deployment] = await until(
        () => client.deployments({ instance: 'one' }),
        ([newest]) => newest?.to.packageVersion === '2.0.0' && newest.endedAt !== null,
      );
      assert.equal(deployment!.state, 'succeeded');
    });

    it('moves no more copies to a new node within an hour than the settings allow, whoever leads', async () => {
      const update = { healthyAfterMs: 10 };
      const one = { id: 'one', packageName: 'app', instances: 9, update };
      cluster = await createCluster(3, {
        componentInstances: [one] as never,
        rebalance: { movesPerHour: 2 },
      });
      await uploadTo(cluster.nodes[0]!.uri(), '1.0.0');
      const all = cluster.document.nodeServers;
      cluster.document.nodeServers = all.slice(0, 2);
      const first = await cluster.start();
      await until(
        () => copyCounts(cluster, 'one'),
        counts => counts[0]! + counts[1]! === 9,
      );
      await cluster.replaceFile(JSON.stringify({ ...cluster.document, nodeServers: all }));
      await until(
        () => copyCounts(cluster, 'one'),
        counts => counts[2] === 2 && counts[0]! + counts[1]! === 7,
      );
      const second = await cluster.start({ processId: 'manager-2', withFile: false, leaseTtlMs: 500 });
      await first.stop();
      await until(
        () => second.client.status(),
        status => status.isLeader && status.lastSync !== null,
      );
      assert.deepEqual((await second.client.sync()).actions, []);
      assert.equal(copyCounts(cluster, 'one')[2], 2);
      // More of them are allowed: those that are due go.
      const { text } = await second.client.settings();
      const document = { ...(JSON.parse(text) as object), rebalance: { movesPerHour: 100 } };
      await second.client.putSettings(JSON.stringify(document));
      await until(
        () => copyCounts(cluster, 'one'),
        counts => counts.every(count => count === 3),
      );
    });
  });
});
