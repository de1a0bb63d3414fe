import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMasterClient } from '#client';
import { settingsEtag, SETTINGS_DOCUMENT, type StoredSettings } from '#core';
import { issueToken } from '#http-api';
import {
  createSettingsHistory,
  HISTORY_DOCUMENT,
  HISTORY_MAX,
  slotDocument,
} from '../../node-manager/settings/history.ts';
import { createInMemoryCoordination } from '../support/in-memory-coordination.ts';
import { createCluster, secret, until, type Cluster, type RunningManager } from './running-manager.ts';
import { silentLogger } from './silence.ts';

describe('the history of the settings', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  let running: RunningManager;

  beforeEach(async () => {
    cluster = await createCluster(1);
    running = await cluster.start();
  });
  afterEach(() => cluster.stop());

  const textWith = (more: object) =>
    `// edited by hand\n${JSON.stringify({ ...cluster.document, ...more }, null, 4)}\n`;
  const put = (syncIntervalMs: number) => running.client.putSettings(textWith({ syncIntervalMs }));
  const numbers = async () => (await running.client.settingsHistory()).map(one => one.revision);
  const forget = async () => {
    cluster.coordination.forgetDocuments();
    const { leases } = cluster.coordination;
    for (const lease of (await leases.list()).leases) {
      await leases.release(lease.name, lease.holder, lease.fence);
    }
  };

  it('has every document that was accepted, byte for byte, with number, ETag, size, who and when', async () => {
    const ada = createMasterClient({ uri: running.client.uri, token: secret, actor: 'ada@laptop' });
    const text = textWith({ syncIntervalMs: 20_000 });
    await ada.putSettings(text);
    const [newest, first] = await ada.settingsHistory();
    assert.deepEqual(
      { ...newest, updatedAt: '' },
      {
        revision: 2,
        etag: settingsEtag(text),
        updatedAt: '',
        updatedBy: 'api: ada@laptop (admin)',
        sizeBytes: Buffer.byteLength(text),
      },
    );
    assert(
      first && first.revision === 1 && first.updatedBy === 'file' && first.updatedAt <= newest!.updatedAt,
    );
    assert.deepEqual(await ada.settingsRevision(2), { text, etag: settingsEtag(text) });
    assert.equal((await ada.status()).settings?.revision, 2);
    await assert.rejects(ada.settingsRevision(3), { code: 'HF_NOT_FOUND', message: /1 to 2/ });
  });

  it('says nothing new of a document that was sent twice, or refused', async () => {
    await put(20_000);
    await put(20_000);
    await assert.rejects(running.client.putSettings('{'), { code: 'HF_SETTINGS_INVALID' });
    assert.deepEqual(await numbers(), [2, 1]);
  });

  it('shows plain JSON to programs that do not ask for comments', async () => {
    await put(20_000);
    const headers = { authorization: `Bearer ${secret}` };
    for (const path of ['settings', 'settings/history/2']) {
      const response = await fetch(`${running.client.uri}/api/master/${path}`, { headers });
      assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
      assert.equal(((await response.json()) as { syncIntervalMs: number }).syncIntervalMs, 20_000);
    }
  });

  it('shows what differs: two revisions, by default the newest and the one before', async () => {
    await put(20_000);
    await put(30_000);
    const path = '$.syncIntervalMs';
    const { from, to, changes } = await running.client.settingsDiff();
    assert.deepEqual([from.revision, to.revision], [2, 3]);
    assert.deepEqual(changes, [{ path, before: 20_000, after: 30_000 }]);
    const back = await running.client.settingsDiff({ from: 3, to: 1 });
    assert.deepEqual(back.changes, [{ path, before: 30_000 }]);
    await assert.rejects(running.client.settingsDiff({ from: 9 }), { code: 'HF_NOT_FOUND' });
  });

  describe('undo', () => {
    it('makes the revision before the newest again, in store and file', async () => {
      const first = await cluster.readFile();
      await put(20_000);
      const ada = createMasterClient({ uri: running.client.uri, token: secret, actor: 'ada@laptop' });
      const undone = await ada.undoSettings();
      assert.deepEqual(
        [undone.revision, undone.updatedBy, undone.etag],
        [3, 'undo: ada@laptop (admin)', settingsEtag(first)],
      );
      assert.equal((await running.client.settings()).text, first);
      assert.equal(await cluster.readFile(), first);
      await running.client.undoSettings();
      assert.equal((await running.client.settings()).text, textWith({ syncIntervalMs: 20_000 }));
    });

    it('goes back to a revision that is named, and does nothing when it is the present one', async () => {
      await put(20_000);
      await put(30_000);
      await put(40_000);
      assert.equal((await running.client.undoSettings({ to: 2 })).revision, 5);
      assert.equal((await running.client.undoSettings({ to: 5 })).revision, 5);
      assert.equal((await running.client.settings()).text, textWith({ syncIntervalMs: 20_000 }));
      await assert.rejects(running.client.undoSettings({ to: 17 }), { code: 'HF_NOT_FOUND' });
    });

    it('is refused when somebody changed them since, where there is nothing before, and without the right to', async () => {
      await assert.rejects(running.client.undoSettings(), { code: 'HF_NOT_FOUND', message: /before 1/ });
      const { etag } = await running.client.settings();
      await put(20_000);
      await assert.rejects(running.client.undoSettings({ ifMatch: etag }), { code: 'HF_SETTINGS_CONFLICT' });
      const reader = createMasterClient({ uri: running.client.uri, token: issueToken(secret, 'deploy', 0) });
      assert.equal((await reader.settingsHistory()).length, 2);
      await assert.rejects(reader.undoSettings(), { code: 'HF_FORBIDDEN' });
    });

    it('says why a revision cannot hold in the cluster as it is now, and changes nothing', async () => {
      const zip = JSON.stringify({ packageName: 'late', packageVersion: '1.0.0', kind: 'component' });
      await running.client.uploadPackage(Buffer.from(zip), { makeCurrent: false });
      await running.client.putSettings(
        textWith({ componentInstances: [{ id: 'one', packageName: 'late' }] }),
      );
      await put(20_000);
      await until(
        () => running.client.packages(),
        packages => packages.every(item => item.instances.length === 0),
      );
      await until(
        () =>
          running.client.removePackage('late').then(
            () => true,
            () => false, // its copy is still being stopped
          ),
        removed => removed,
      );
      await until(
        () => running.client.packages(),
        packages => packages.length === 0,
      );
      await assert.rejects(running.client.undoSettings(), {
        code: 'HF_SETTINGS_INVALID',
        message: /revision 2 .* cannot hold .*packageName/,
      });
      assert.deepEqual(await numbers(), [3, 2, 1]);
    });
  });

  it('gets what a leader could not write any more', async () => {
    await put(20_000);
    await running.stop();
    const { documents } = cluster.coordination;
    const document = (await documents.get(SETTINGS_DOCUMENT))!;
    const text = textWith({ syncIntervalMs: 30_000 });
    const left = { ...(JSON.parse(document.content) as StoredSettings), text, revision: 3 };
    await documents.put(SETTINGS_DOCUMENT, JSON.stringify(left), document.etag);
    running = await cluster.start({ processId: 'manager-2' });
    assert.deepEqual(await numbers(), [3, 2, 1]);
    assert.equal((await running.client.settingsRevision(3)).text, text);
    await put(40_000);
    assert.deepEqual(await numbers(), [4, 3, 2, 1]);
  });

  it('takes settings that were stored before there was a history', async () => {
    await running.stop();
    const { documents } = cluster.coordination;
    const { revision, ...older } = JSON.parse(
      (await documents.get(SETTINGS_DOCUMENT))!.content,
    ) as StoredSettings;
    assert.equal(revision, 1);
    cluster.coordination.forgetDocuments();
    await documents.put(SETTINGS_DOCUMENT, JSON.stringify(older), null);
    running = await cluster.start();
    await put(20_000);
    assert.deepEqual(await numbers(), [2, 1]);
    assert.equal((await running.client.settingsRevision(1)).text, older.text);
  });

  for (const withFile of [true, false]) {
    it(`survives a store that forgot everything, ${withFile ? 'with' : 'without'} a file`, async () => {
      await put(20_000);
      await put(30_000);
      await running.stop();
      running = await cluster.start({ withFile });
      const before = await running.client.settingsHistory();
      await forget();
      await until(
        () => cluster.coordination.documents.get(HISTORY_DOCUMENT),
        document => document !== null,
      );
      assert.deepEqual(await running.client.settingsHistory(), before);
      assert.equal((await running.client.settingsRevision(2)).text, textWith({ syncIntervalMs: 20_000 }));
      await put(40_000);
      assert.deepEqual(await numbers(), [4, 3, 2, 1]);
    });
  }
});

describe('the ring of revisions', () => {
  let directory: string;
  beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), 'holdfast-history-'))));
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const one = (revision: number) => ({
    revision,
    text: `{"n":${revision}}`,
    updatedAt: '',
    updatedBy: 'file',
  });
  const create = (coordination = createInMemoryCoordination(), folder = directory) => {
    const { documents } = coordination;
    return {
      documents,
      coordination,
      history: createSettingsHistory({ documents, directory: folder, log: silentLogger }),
    };
  };

  it(`keeps the last ${HISTORY_MAX}, in as many documents`, async () => {
    const { documents, history } = create();
    const last = HISTORY_MAX + 7;
    for (let revision = 1; revision <= last; revision++) await history.record(one(revision));
    const kept = (await history.list()).map(({ revision }) => revision);
    assert.deepEqual(
      kept,
      Array.from({ length: HISTORY_MAX }, (_, index) => index + 8),
    );
    assert.deepEqual(await history.revision(last), one(last));
    await assert.rejects(history.revision(7), { code: 'HF_NOT_FOUND' });
    // A leader that was deposed writes late: nothing newer is lost.
    await history.record(one(7));
    assert.deepEqual(await history.revision(last), one(last));
    assert.equal(JSON.parse((await documents.get(slotDocument(7)))!.content).revision, last);
    assert.equal(await history.last(), last);
  });

  it('is filled from the disk only where that saw the very same settings', async () => {
    const { history } = create();
    for (const revision of [1, 2, 3]) history.note(one(revision));
    await history.kept();
    const other = create(createInMemoryCoordination());
    await other.history.record({ ...one(3), text: '{}' });
    assert.deepEqual(
      (await other.history.list()).map(({ revision }) => revision),
      [3],
    );
    const again = create(createInMemoryCoordination());
    await again.history.record(one(3));
    assert.deepEqual(
      (await again.history.list()).map(({ revision }) => revision),
      [1, 2, 3],
    );
    assert.deepEqual(await again.history.revision(1), one(1));
  });
});
