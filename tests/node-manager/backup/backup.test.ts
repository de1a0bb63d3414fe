import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createMasterClient } from '#client';
import type { InstanceId, KeyRecord, NodeName, ProcessId, ResourceKey } from '#core';
import { issueToken } from '#http-api';
import { openArchive } from '#package-manager';
import { buildZip, type EntrySpec } from '../../support/zip-builder.ts';
import { zipOf } from '../fake-node.ts';
import {
  copyCounts,
  createCluster,
  secret,
  until,
  type Cluster,
  type RunningManager,
} from '../running-manager.ts';

const pool = 'shop' as InstanceId;
const past = 1_700_000_000_000;

describe('backup and restore', function () {
  this.timeout(60_000);
  let from: Cluster;
  let source: RunningManager;
  let to: Cluster;
  let target: RunningManager;
  let file: string;

  beforeEach(async () => {
    from = await createCluster(1);
    source = await from.start();
    await fill();
    file = join(from.directory, 'backup.zip');
    await writeFile(file, await bytesOf());
    to = await createCluster(2);
    target = await to.start();
    await until(
      () => target.client.nodes(),
      nodes => nodes.length === 2 && nodes.every(node => node.state === 'ready'),
    );
  });
  afterEach(async () => {
    await from.stop();
    await to.stop();
  });

  async function bytesOf(): Promise<Buffer> {
    const { zip } = await source.client.backup();
    return Buffer.from(await new Response(zip).arrayBuffer());
  }
  const shop = (more: object = {}) =>
    `// the shop\n${JSON.stringify({ ...from.document, componentInstances: [{ id: 'shop', packageName: 'shop', ...more }] }, null, 2)}\n`;

  /** Packages, revisions, a restart, and keys of all kinds. */
  async function fill(): Promise<void> {
    await until(
      () => source.client.nodes(),
      nodes => nodes[0]?.state === 'ready',
    );
    for (const version of ['1.0.0', '2.0.0']) {
      await source.client.uploadPackage(zipOf('shop', version), { makeCurrent: false });
    }
    await source.client.putSettings(shop({ packageVersion: '1.0.0' }));
    await source.client.putSettings(shop({ packageVersion: '2.0.0' }));
    await source.client.restart('shop');
    const { directory } = from.coordination;
    const { sessionId } = await directory.openSession({
      pool,
      processId: 'p-1' as ProcessId,
      nodeName: 'node-1' as NodeName,
      address: 'http://127.0.0.1:1',
      ownsResources: true,
      capacity: 1,
      ttlMs: 60_000,
      attempt: 1,
    });
    for (const name of ['opened', 'claimed', 'paused', 'alarmed']) {
      const outcome = await directory.claim(pool, `/shop/${name}` as ResourceKey);
      assert(outcome.owned);
      if (name !== 'claimed') await directory.confirmOpened(outcome.claim);
      if (name === 'alarmed') await directory.setAlarm(outcome.claim, past);
      if (name === 'paused') await directory.pauseKey(pool, outcome.claim.key);
    }
    assert(sessionId);
  }

  const recordsOf = async (cluster: Cluster): Promise<KeyRecord[]> =>
    (await cluster.coordination.directory.exportKeys(null, 1_000)).records;

  it('brings everything into an empty cluster: packages, settings with history, keys, notes', async () => {
    const before = await source.client.settingsHistory();
    const ada = createMasterClient({ uri: target.client.uri, token: secret, actor: 'ada@laptop' });
    const outcome = await ada.restore({ path: file });
    assert.deepEqual(outcome.counts, {
      revisions: 3,
      packages: 2,
      keys: 4,
      documents: outcome.counts.documents,
    });
    assert.deepEqual([outcome.clusterName, outcome.kept, outcome.revision], ['test', [], 4]);

    assert.deepEqual(await recordsOf(to), await recordsOf(from));
    const restarts = async (cluster: Cluster) =>
      (await cluster.coordination.documents.get('restarts'))?.content;
    assert.deepEqual(await restarts(to), await restarts(from));
    const [restored, ...earlier] = await ada.settingsHistory();
    assert.deepEqual(earlier, before);
    assert.equal(restored!.updatedBy, 'restore: ada@laptop (admin)');
    const { text } = await ada.settingsRevision(3);
    assert.equal(text, shop({ packageVersion: '2.0.0' }));

    // The nodes are those of the cluster that restores; the rest is as it was, comments too.
    const now = (await ada.settings()).text;
    assert.match(now, /^\/\/ the shop\n/);
    assert.deepEqual(
      (await ada.nodes()).map(node => node.nodeApiUri),
      to.nodes.map(node => node.uri()),
    );
    await until(
      () => copyCounts(to, 'shop').reduce((sum, copies) => sum + copies, 0),
      copies => copies === 1,
    );
    assert.deepEqual(
      (await ada.packages()).map(({ packageName, packageVersion, sha256 }) => [
        packageName,
        packageVersion,
        sha256,
      ]),
      ['1.0.0', '2.0.0'].map(version => [
        'shop',
        version,
        createHash('sha256').update(zipOf('shop', version)).digest('hex'),
      ]),
    );
    assert.deepEqual(await readdir(join(to.directory, 'data', 'restore')), [], 'no file is left');
  });

  it('says that it is still at work, for clients that do not wait for ever', async () => {
    const { hostname, port } = new URL(target.client.uri);
    const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' };
    const sent = request({ hostname, port, path: '/api/master/restore', method: 'POST', headers });
    const heard: number[] = [];
    sent.on('information', ({ statusCode }) => heard.push(statusCode));
    sent.end(await readFile(file));
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 200);
    assert(heard.length >= 4 && heard.every(status => status === 102), heard.join());
  });

  it('takes over what jobs have done, and what their hosts say was begun', async () => {
    const { documents } = from.coordination;
    const job = { id: 'nightly', packageName: 'shop', job: { cron: '0 3 * * *' } };
    const text = JSON.stringify({ ...from.document, componentInstances: [job] });
    await source.client.putSettings(text);
    await until(
      () => documents.get('jobs/nightly'),
      document => document !== null,
    );
    const marker = JSON.stringify({ number: 4, attempt: 1, processId: 'p' });
    await documents.put('job-begun/nightly', marker, null);
    await writeFile(file, await bytesOf());
    await target.client.restore({ path: file });
    assert.equal((await to.coordination.documents.get('job-begun/nightly'))?.content, marker);
    assert.notEqual(await to.coordination.documents.get('jobs/nightly'), null);
  });

  it('is refused a second time, and says what is in the way', async () => {
    await target.client.restore({ path: file });
    await until(
      () => copyCounts(to, 'shop').reduce((sum, copies) => sum + copies, 0),
      copies => copies === 1,
    );
    await assert.rejects(
      target.client.restore({ path: file }),
      (error: { code: string; details: { obstacles: string[] } }) => {
        assert.equal(error.code, 'HF_CLUSTER_NOT_EMPTY');
        const words = error.details.obstacles.join('\n');
        for (const expected of [
          /was restored from a backup at/,
          /the instance shop: take it out/,
          /runs shop on node-\d: stop it/,
          /knows the key \/shop\//,
        ]) {
          assert.match(words, expected);
        }
        return true;
      },
    );
  });

  it('is refused where packages have other bytes, nodes do not answer, or another restore was begun', async () => {
    await target.client.uploadPackage(zipOf('shop', '1.0.0', { description: 'another' }), {
      makeCurrent: false,
    });
    await assert.rejects(target.client.restore({ path: file }), {
      code: 'HF_CLUSTER_NOT_EMPTY',
      message: /shop 1\.0\.0 is here with other bytes: remove it/,
    });
    await target.client.removePackage('shop');
    await to.nodes[1]!.close();
    await assert.rejects(target.client.restore({ path: file }), {
      code: 'HF_CLUSTER_NOT_EMPTY',
      message: /node-2 is \w+, and may run anything/,
    });
    await to.nodes[1]!.listen();
    const { documents } = to.coordination;
    await documents.put(
      'restore',
      JSON.stringify({ sha256: 'another', state: 'running', at: 'then', by: '' }),
      null,
    );
    await assert.rejects(target.client.restore({ path: file }), {
      code: 'HF_CLUSTER_NOT_EMPTY',
      message: /another backup was begun here at then: send that one again/,
    });
    assert.deepEqual(await recordsOf(to), []);
  });

  it('keeps the bytes that the cluster itself runs from', async () => {
    await source.client.uploadPackage(zipOf('component-host', '1.0.0', { kind: 'host' }), {
      makeCurrent: false,
    });
    await writeFile(file, await bytesOf());
    const own = zipOf('component-host', '1.0.0', { kind: 'host', description: 'of here' });
    await target.client.uploadPackage(own, { makeCurrent: false });
    const { kept } = await target.client.restore({ path: file });
    assert.deepEqual(kept, ['component-host 1.0.0']);
    const here = to.nodes[0]!.packages.find(item => item.packageName === 'component-host')!;
    assert.deepEqual(here.zip, own);
  });

  it('takes the nodes of the backup, if it is told to', async () => {
    await to.stop();
    to = await createCluster(1, { nodeServers: from.document.nodeServers });
    await from.nodes[0]!.close();
    await source.stop();
    from.nodes[0]!.processes = [];
    await from.nodes[0]!.listen();
    target = await to.start();
    await target.client.restore({ path: file }, { withNodes: true });
    assert.deepEqual(
      (await target.client.nodes()).map(node => node.nodeApiUri),
      [from.nodes[0]!.uri()],
    );
  });

  it('needs the scope admin, both ways', async () => {
    for (const scope of ['read', 'deploy'] as const) {
      const client = createMasterClient({ uri: target.client.uri, token: issueToken(secret, scope, 0) });
      await assert.rejects(client.backup(), { code: 'HF_FORBIDDEN' });
      await assert.rejects(client.restore({ path: file }), { code: 'HF_FORBIDDEN' });
    }
  });

  describe('broken off in the middle', () => {
    /** Lets the nth call of something in the store fail, and all after it. */
    function failFrom(step: number): void {
      let calls = 0;
      const { documents, directory } = to.coordination;
      const count = <Arguments extends unknown[], Result>(call: (...given: Arguments) => Promise<Result>) => {
        return async (...given: Arguments): Promise<Result> => {
          if (++calls >= step) to.coordination.fail(true);
          return call(...given);
        };
      };
      documents.put = count(documents.put.bind(documents));
      directory.importKeys = count(directory.importKeys.bind(directory));
    }

    for (const step of Array.from({ length: 12 }, (_, index) => index + 1)) {
      it(`goes on when it is sent again: the store failed at write ${step}`, async () => {
        const { put } = to.coordination.documents;
        const { importKeys } = to.coordination.directory;
        failFrom(step);
        await assert.rejects(target.client.restore({ path: file }));
        Object.assign(to.coordination.documents, { put });
        Object.assign(to.coordination.directory, { importKeys });
        await target.stop();
        to.coordination.fail(false);
        for (const lease of (await to.coordination.leases.list()).leases) {
          await to.coordination.leases.release(lease.name, lease.holder, lease.fence);
        }
        target = await to.start({ processId: 'manager-2' });
        const outcome = await until(
          () => target.client.restore({ path: file }).catch((error: { code: string }) => error.code),
          seen => typeof seen !== 'string' || seen === 'HF_CLUSTER_NOT_EMPTY',
        );
        if (typeof outcome === 'string') assert.fail(outcome);
        assert.deepEqual(await recordsOf(to), await recordsOf(from));
        const history = await target.client.settingsHistory();
        assert.deepEqual(history.slice(-3), await source.client.settingsHistory());
        await until(
          () => copyCounts(to, 'shop').reduce((sum, copies) => sum + copies, 0),
          copies => copies === 1,
        );
      });
    }
  });

  describe('a file that is no backup', () => {
    async function partsOf(): Promise<Map<string, Buffer>> {
      const archive = await openArchive(file);
      const parts = new Map<string, Buffer>();
      for (const { name } of archive.entries) parts.set(name, await archive.read(name));
      await archive.close();
      return parts;
    }
    const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
    /** Changes parts; the manifest is made to agree, unless it is changed itself. */
    async function write(changes: Record<string, string | null>, more: EntrySpec[] = []): Promise<void> {
      const parts = await partsOf();
      for (const [name, content] of Object.entries(changes)) {
        if (content === null) parts.delete(name);
        else parts.set(name, Buffer.from(content));
      }
      const manifest = JSON.parse(parts.get('manifest.json')!.toString()) as { parts: object[] };
      if (!('manifest.json' in changes)) {
        parts.delete('manifest.json');
        manifest.parts = [...parts].map(([name, content]) => ({
          name,
          sizeBytes: content.length,
          sha256: sha256(content),
        }));
        parts.set('manifest.json', Buffer.from(JSON.stringify(manifest)));
      }
      await writeFile(file, buildZip([...[...parts].map(([name, content]) => ({ name, content })), ...more]));
    }
    const manifestWith = async (change: (manifest: Record<string, never>) => void) => {
      const manifest = JSON.parse((await partsOf()).get('manifest.json')!.toString()) as Record<
        string,
        never
      >;
      change(manifest);
      return { 'manifest.json': JSON.stringify(manifest) };
    };
    const key = { pool, key: '/shop/a', fence: '1', opened: true, paused: false, alarmAtMs: null };
    const keys = (more: object) => ({ 'keys/0000001.jsonl': `${JSON.stringify({ ...key, ...more })}\n` });

    const bad: Record<string, [() => Promise<void>, RegExp]> = {
      'is no ZIP': [() => writeFile(file, 'hello'), /it has only 5 bytes/],
      'was cut off': [
        async () => writeFile(file, (await bytesOf()).subarray(0, -100)),
        /its end is missing: it was cut off/,
      ],
      'is a package': [
        () => writeFile(file, buildZip([{ name: 'manifest.json', content: '{"packageName":"shop"}' }])),
        /manifest\.json: .*format/,
      ],
      'is of a later version': [
        async () => write(await manifestWith(manifest => Object.assign(manifest, { formatVersion: 2 }))),
        /format version 2, made by Holdfast .*; this one reads 1/,
      ],
      'has a part with another digest': [
        async () => write({ ...(await manifestWith(() => {})), 'settings.json': '{}' }),
        /settings\.json has another digest/,
      ],
      'lacks a part': [
        async () => write({ ...(await manifestWith(() => {})), 'documents.json': null }),
        /lists parts that are not there/,
      ],
      'has a part that nobody listed': [
        async () => write(await manifestWith(() => {}), [{ name: 'keys/9.jsonl', content: '' }]),
        /does not list "keys\/9\.jsonl"/,
      ],
      'lacks a package that it lists': [
        async () => write({ 'packages/shop@1.0.0.zip': null }),
        /packages\/shop@1\.0\.0\.zip is not there/,
      ],
      'would write over what the cluster is': [
        () => write({ 'documents.json': JSON.stringify({ leader: '{}' }) }),
        /"leader", which is no note/,
      ],
      'has a note that is none': [
        () => write({ 'documents.json': JSON.stringify({ restarts: '{' }) }),
        /the note restarts is no JSON/,
      ],
      'has a key that is none': [() => write(keys({ fence: 'many' })), /line 1 of keys\/0000001\.jsonl/],
      'has a fence that leaves no room': [
        () => write(keys({ fence: String(2n ** 62n) })),
        /line 1 of keys\/0000001\.jsonl/,
      ],
      'climbs out': [() => write({}, [{ name: '../evil', content: 'x' }]), /climbs out/],
      'unpacks to far more than it holds': [
        async () => {
          const bomb = Buffer.alloc(100 * 1024 * 1024);
          await write({}, [{ name: 'keys/9.jsonl', content: bomb }]);
        },
        /suspiciously more/,
      ],
    };
    for (const [what, [make, expected]] of Object.entries(bad)) {
      it(`is refused, and nothing is changed: it ${what}`, async () => {
        await make();
        await assert.rejects(target.client.restore({ path: file }), {
          code: 'HF_BACKUP_INVALID',
          message: expected,
        });
        assert.equal(await to.coordination.documents.get('restore'), null);
        assert.deepEqual(await recordsOf(to), []);
        assert.deepEqual(await target.client.packages(), []);
        assert.deepEqual(await readdir(join(to.directory, 'data', 'restore')), []);
      });
    }

    it('is refused when its settings cannot hold here', async () => {
      const settings = JSON.parse((await partsOf()).get('settings.json')!.toString()) as object;
      await write({
        'settings.json': JSON.stringify({ ...settings, text: shop({ packageName: 'nobody' }) }),
      });
      await assert.rejects(target.client.restore({ path: file }), { code: 'HF_SETTINGS_INVALID' });
      assert.equal(await to.coordination.documents.get('restore'), null);
    });
  });
});
