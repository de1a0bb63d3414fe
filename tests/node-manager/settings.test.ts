import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { createMasterClient } from '#client';
import { settingsEtag, SETTINGS_DOCUMENT, type StoredSettings } from '#core';
import { sha256Of } from '#node-manager';
import { createCluster, secret, until, type Cluster, type RunningManager } from './running-manager.ts';

describe('settings of a running manager', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  let running: RunningManager;

  beforeEach(async () => {
    cluster = await createCluster(1);
    running = await cluster.start();
  });
  afterEach(() => cluster.stop());

  const textWith = (more: object) => `${JSON.stringify({ ...cluster.document, ...more }, null, 4)}\n`;
  const interval = () =>
    running.client
      .settings()
      .then(({ text }) => (JSON.parse(text) as { syncIntervalMs?: number }).syncIntervalMs);
  const stored = async () =>
    JSON.parse((await cluster.coordination.documents.get(SETTINGS_DOCUMENT))!.content) as StoredSettings;

  it('takes the file into the store at the first start', async () => {
    const text = await cluster.readFile();
    assert.equal((await stored()).text, text);
    assert.equal((await stored()).fileSha256, sha256Of(text));
    assert.equal((await running.client.settings()).etag, settingsEtag(text));
  });

  it('sees a file that is renamed over it, again and again', async () => {
    for (const syncIntervalMs of [11_000, 12_000, 13_000]) {
      await cluster.replaceFile(textWith({ syncIntervalMs }));
      await until(interval, seen => seen === syncIntervalMs);
    }
  });

  it('sees a file that is written in place', async () => {
    await writeFile(cluster.settingsFile, textWith({ syncIntervalMs: 14_000 }));
    await until(interval, seen => seen === 14_000);
  });

  it('keeps the last good settings when the file is not valid, says what is wrong, and clears it when repaired', async () => {
    await cluster.replaceFile(textWith({ syncIntervalMs: 'often', unknownKey: 1 }));
    const broken = await until(
      () => running.client.status(),
      status => status.settingsError !== null,
    );
    const paths = (broken.settingsError!.problems as { path: string }[]).map(problem => problem.path);
    assert.deepEqual(paths.sort(), ['$.syncIntervalMs', '$.unknownKey']);
    assert.equal(await interval(), undefined);
    await cluster.replaceFile(textWith({ syncIntervalMs: 15_000 }));
    await until(
      () => running.client.status(),
      status => status.settingsError === null,
    );
    assert.equal(await interval(), 15_000);
  });

  it('warns when the file is gone, runs on, and takes it when it is back', async () => {
    await rm(cluster.settingsFile);
    await until(
      () => running.client.status(),
      status => status.warnings.some(warning => warning.includes('missing')),
    );
    await cluster.replaceFile(textWith({ syncIntervalMs: 16_000 }));
    await until(interval, seen => seen === 16_000);
    assert.deepEqual((await running.client.status()).warnings, []);
  });

  it('refuses an instance whose package nobody knows, until it is uploaded', async () => {
    await until(
      () => running.client.status(),
      status => status.nodes[0]?.state === 'ready' && status.lastSync !== null,
    );
    const text = textWith({ componentInstances: [{ id: 'one', packageName: 'late' }] });
    await assert.rejects(running.client.putSettings(text), { code: 'HF_SETTINGS_INVALID' });
    await cluster.replaceFile(text);
    await until(
      () => running.client.status(),
      status => status.settingsError !== null,
    );
    const zip = Buffer.from(
      JSON.stringify({ packageName: 'late', packageVersion: '1.0.0', kind: 'component' }),
    );
    await running.client.uploadPackage(zip, { makeCurrent: false });
    await until(
      () => running.client.status(),
      status => status.settingsError === null && status.instances[0]?.running === 1,
    );
  });

  describe('PUT', () => {
    it('stores the text as it was sent, writes the file, and answers with the new ETag', async () => {
      const text = textWith({ syncIntervalMs: 20_000 });
      const { etag } = await running.client.settings();
      const outcome = await running.client.putSettings(text, { ifMatch: etag });
      assert.equal(outcome.etag, settingsEtag(text));
      assert.equal(await cluster.readFile(), text);
      assert.deepEqual(await running.client.settings(), { text, etag: outcome.etag });
      assert.equal((await stored()).fileSha256, sha256Of(text));
      assert.equal((await running.client.status()).settings?.updatedBy, 'api');
    });

    it('records for whom it was sent, as told, with the scope of the token', async () => {
      const { uri } = running.client;
      const ada = createMasterClient({ uri, token: secret, actor: 'ada@laptop' });
      await ada.putSettings(textWith({ syncIntervalMs: 20_500 }));
      assert.equal((await ada.status()).settings?.updatedBy, 'api: ada@laptop (admin)');
    });

    it('answers 412 when If-Match names an older document, and takes * and none', async () => {
      const { etag } = await running.client.settings();
      await running.client.putSettings(textWith({ syncIntervalMs: 21_000 }), { ifMatch: etag });
      await assert.rejects(
        running.client.putSettings(textWith({ syncIntervalMs: 22_000 }), { ifMatch: etag }),
        {
          code: 'HF_SETTINGS_CONFLICT',
          statusCode: 412,
        },
      );
      assert.equal(await interval(), 21_000);
      await running.client.putSettings(textWith({ syncIntervalMs: 23_000 }), { ifMatch: '*' });
      await running.client.putSettings(textWith({ syncIntervalMs: 24_000 }));
      assert.equal(await interval(), 24_000);
    });

    it('answers 422 with the JSON path of every problem, and changes nothing', async () => {
      const before = await cluster.readFile();
      const response = await fetch(`${running.client.uri}/api/master/settings`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
        body: textWith({ routes: [{ pathPrefix: '/db', componentInstanceId: 'nobody' }] }),
      });
      assert.equal(response.status, 422);
      const { code, details } = (await response.json()) as {
        code: string;
        details: { problems: { path: string }[] };
      };
      assert.equal(code, 'HF_SETTINGS_INVALID');
      assert.equal(details.problems[0]!.path, '$.routes[0].componentInstanceId');
      assert.equal(await cluster.readFile(), before);
      await assert.rejects(running.client.putSettings('{"clusterName":'), { code: 'HF_SETTINGS_INVALID' });
    });

    it('lets one of two writers with the same ETag win', async () => {
      const { etag } = await running.client.settings();
      const outcomes = await Promise.allSettled(
        [31_000, 32_000].map(syncIntervalMs =>
          running.client.putSettings(textWith({ syncIntervalMs }), { ifMatch: etag }),
        ),
      );
      assert.deepEqual(outcomes.map(outcome => outcome.status).sort(), ['fulfilled', 'rejected']);
    });
  });

  for (const withFile of [true, false]) {
    it(`gives them back to a store that forgot everything, ${withFile ? 'from its file' : 'without a file'}`, async () => {
      await running.client.putSettings(textWith({ syncIntervalMs: 45_000 }));
      await running.stop();
      running = await cluster.start({ withFile });
      const { text } = await running.client.settings();
      cluster.coordination.forgetDocuments();
      const { leases } = cluster.coordination;
      for (const lease of (await leases.list()).leases) {
        await leases.release(lease.name, lease.holder, lease.fence);
      }
      await until(
        () => cluster.coordination.documents.get(SETTINGS_DOCUMENT),
        document => document !== null,
      );
      assert.equal((await stored()).text, text);
      assert.equal(await interval(), 45_000);
    });
  }

  describe('at a start', () => {
    it('takes a file that was edited meanwhile', async () => {
      await running.stop();
      await writeFile(cluster.settingsFile, textWith({ syncIntervalMs: 41_000 }));
      running = await cluster.start();
      assert.equal(await interval(), 41_000);
    });

    it('writes back what the store has when the file is only older', async () => {
      await running.stop();
      const text = textWith({ syncIntervalMs: 42_000 });
      const { documents } = cluster.coordination;
      const document = (await documents.get(SETTINGS_DOCUMENT))!;
      await documents.put(SETTINGS_DOCUMENT, JSON.stringify({ ...(await stored()), text }), document.etag);
      running = await cluster.start();
      assert.equal(await interval(), 42_000);
      assert.equal(await cluster.readFile(), text);
      assert.equal((await stored()).fileSha256, sha256Of(text));
    });

    it('keeps the stored settings when the edited file is not valid', async () => {
      await running.client.putSettings(textWith({ syncIntervalMs: 43_000 }));
      await running.stop();
      await writeFile(cluster.settingsFile, '{ broken');
      running = await cluster.start();
      assert.equal(await interval(), 43_000);
      assert.equal((await running.client.status()).settingsError?.source, 'file');
      assert.equal(await cluster.readFile(), '{ broken');
    });

    it('finds the last good ones on its disk when store and manager have forgotten them', async () => {
      await running.client.putSettings(textWith({ syncIntervalMs: 46_000 }));
      const { text } = await running.client.settings();
      await running.stop();
      cluster.coordination.forgetDocuments();
      running = await cluster.start({ withFile: false });
      assert.equal(await interval(), 46_000);
      assert.equal((await stored()).text, text);
    });

    it('does not take the last good ones when they are of another cluster', async () => {
      await running.client.putSettings(textWith({ syncIntervalMs: 47_000 }));
      await running.stop();
      cluster.coordination.forgetDocuments();
      cluster.address = {
        kind: 'redis',
        urls: ['redis://127.0.0.1'],
        prefix: 'hf:other:',
        sessionTtlMs: 5_000,
      };
      running = await cluster.start({ withFile: false });
      assert.equal(await cluster.coordination.documents.get(SETTINGS_DOCUMENT), null);
    });

    it('needs no file when the store has the settings', async () => {
      await running.client.putSettings(textWith({ syncIntervalMs: 44_000 }));
      await running.stop();
      running = await cluster.start({ withFile: false });
      assert.equal(await interval(), 44_000);
    });
  });
});
