import assert from 'node:assert/strict';
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { createSystem, FOLDER_LOCK_FILES, type ErrorCode } from '#core';
import { openPackageStore, type PackageStore, type PackageStoreOptions } from '#package-manager';
import { packageZip, sampleZip } from '../fixtures/package-manager/packages.ts';
import { expectedPaths, snapshot, versionsOf } from '../fixtures/package-manager/store-folder.ts';

const sampleContent = ['content', 'content/index.js', 'content/version.txt', 'manifest.json'];

describe('package store', () => {
  let directory: string;
  let store: PackageStore;
  let used: Set<string>;
  const open: PackageStore[] = [];

  async function openStore(options: Partial<PackageStoreOptions> = {}): Promise<PackageStore> {
    const opened = await openPackageStore({
      directory,
      system: createSystem(),
      inUse: (name, version) => used.has(`${name}@${version}`),
      ...options,
    });
    open.push(opened);
    return opened;
  }
  async function reopen(options: Partial<PackageStoreOptions> = {}): Promise<void> {
    await store.close();
    store = await openStore(options);
  }
  const put = (version: string, name?: string) =>
    store.install(sampleZip(version, name), { makeCurrent: true });
  const post = (version: string) => store.install(sampleZip(version), { makeCurrent: false });
  const hasCode = (code: ErrorCode) => (error: unknown) => {
    assert.equal((error as { code?: unknown }).code, code, String(error));
    return true;
  };

  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'holdfast-test-')), 'packages');
    used = new Set();
    store = await openStore();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map(opened => opened.close()));
    await rm(join(directory, '..'), { recursive: true });
  });

  it('installs a package with private modes, keeps its archive, and describes it', async () => {
    const { package: stored, created } = await store.install(Readable.from([sampleZip('1.0.0')]), {
      makeCurrent: false,
    });
    assert.equal(created, true);
    assert.equal(stored.current, true, 'a first version is current in any case');
    assert.deepEqual(
      [stored.packageName, stored.packageVersion, stored.kind, stored.status, stored.directory],
      ['sample', '1.0.0', 'component', 'ok', join(directory, 'sample/1.0.0')],
    );
    assert.equal(new Date(stored.installedAt).toISOString(), stored.installedAt);
    assert.deepEqual(await readFile(store.archivePath('sample', '1.0.0')), sampleZip('1.0.0'));
    const files = await snapshot(directory);
    assert.deepEqual(
      Object.keys(files)
        .filter(path => !FOLDER_LOCK_FILES.includes(path) && path !== 'catalog.json.backup')
        .sort(),
      expectedPaths(store, sampleContent),
    );
    assert.match(files['sample/1.0.0/content/version.txt']!, /^700 /);
    for (const [path, facts] of Object.entries(files)) {
      if (path !== 'sample/1.0.0/content/version.txt') assert.match(facts, /^(600 |folder 700)/, path);
    }
  });

  it('answers a second upload of the same bytes with created: false', async () => {
    await put('1.0.0');
    await put('2.0.0');
    const again = await post('1.0.0');
    assert.equal(again.created, false);
    assert.deepEqual(versionsOf(store), ['sample@1.0.0', 'sample@2.0.0*']);
    assert.equal((await put('1.0.0')).created, false);
    assert.deepEqual(versionsOf(store), ['sample@1.0.0*', 'sample@2.0.0']);
  });

  it('refuses the same version with other bytes and keeps what it has', async () => {
    const { package: first } = await put('1.0.0');
    const other = packageZip([{ name: 'content/other.js' }]);
    await assert.rejects(store.install(other, { makeCurrent: true }), hasCode('HF_PACKAGE_CONFLICT'));
    assert.deepEqual(store.list(), [first]);
    assert.deepEqual(await readdir(join(directory, 'staging')), []);
  });

  it('refuses a package whose archive would have the name of another', async () => {
    await put('1.0.0-b-2.0.0', 'a');
    await assert.rejects(put('2.0.0', 'a-1.0.0-b'), hasCode('HF_PACKAGE_CONFLICT'));
  });

  it('makes a further version current for PUT and not for POST', async () => {
    await post('1.0.0');
    await post('2.0.0');
    assert.equal(store.get('sample').packageVersion, '1.0.0');
    await put('3.0.0');
    assert.equal(store.get('sample').packageVersion, '3.0.0');
    assert.equal(store.get('sample', '2.0.0').current, false);
  });

  it('knows packages with names that objects have', async () => {
    assert.throws(() => store.get('constructor'), hasCode('HF_PACKAGE_NOT_FOUND'));
    await put('1.0.0', 'constructor');
    assert.equal(store.get('constructor').packageName, 'constructor');
  });

  it('says which versions it has when one is not found', async () => {
    await put('1.0.0');
    assert.throws(() => store.get('sample', '9.9.9'), /no version 9\.9\.9; stored: 1\.0\.0/);
    assert.throws(() => store.archivePath('sample', '9.9.9'), hasCode('HF_PACKAGE_NOT_FOUND'));
    await assert.rejects(store.remove('other'), hasCode('HF_PACKAGE_NOT_FOUND'));
    await assert.rejects(store.rollback('other'), hasCode('HF_PACKAGE_NOT_FOUND'));
    await assert.rejects(store.verifyOne('other', '1.0.0'), hasCode('HF_PACKAGE_NOT_FOUND'));
  });

  it('keeps the last five versions, and more of those that are current or in use', async () => {
    for (const version of ['1.0.0', '2.0.0']) await put(version);
    used.add('sample@1.0.0');
    for (const version of ['3.0.0', '4.0.0', '5.0.0', '6.0.0', '7.0.0']) await post(version);
    assert.deepEqual(versionsOf(store), [
      'sample@1.0.0',
      'sample@2.0.0*',
      'sample@5.0.0',
      'sample@6.0.0',
      'sample@7.0.0',
    ]);
    const paths = await readdir(join(directory, 'sample'));
    assert.deepEqual(paths.sort(), ['1.0.0', '2.0.0', '5.0.0', '6.0.0', '7.0.0']);
    assert.equal((await readdir(join(directory, 'archives'))).length, 10);
  });

  it('removes one version, and all; refuses those in use', async () => {
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await put(version);
    used.add('sample@1.0.0');
    await assert.rejects(store.remove('sample', '1.0.0'), hasCode('HF_PACKAGE_IN_USE'));
    await assert.rejects(store.remove('sample'), hasCode('HF_PACKAGE_IN_USE'));
    await store.remove('sample', '3.0.0');
    assert.deepEqual(
      versionsOf(store),
      ['sample@1.0.0', 'sample@2.0.0*'],
      'current is what was current before',
    );
    used.clear();
    await store.remove('sample');
    assert.deepEqual(store.list(), []);
    assert.deepEqual(await readdir(join(directory, 'archives')), []);
    await assert.rejects(stat(join(directory, 'sample')), { code: 'ENOENT' });
  });

  it('rolls back along the history of current versions, not by their numbers', async () => {
    await put('3.0.0');
    await put('1.0.0');
    await post('5.0.0');
    await put('2.0.0');
    assert.equal((await store.rollback('sample')).packageVersion, '1.0.0');
    assert.equal((await store.rollback('sample')).packageVersion, '3.0.0');
    await assert.rejects(store.rollback('sample'), hasCode('HF_ROLLBACK_IMPOSSIBLE'));
    await reopen();
    assert.equal(store.get('sample').packageVersion, '3.0.0');
  });

  it('finds the same state when it is opened again', async () => {
    await put('1.0.0');
    await put('2.0.0');
    const before = store.list();
    await reopen();
    assert.deepEqual(store.list(), before);
    assert.equal((await store.rollback('sample')).packageVersion, '1.0.0');
  });

  it('serialises installs that arrive at the same time', async () => {
    const versions = ['1.0.0', '2.0.0', '3.0.0', '4.0.0'];
    const results = await Promise.all([...versions, ...versions].map(version => post(version)));
    assert.equal(results.filter(result => result.created).length, 4);
    assert.deepEqual(
      store
        .list()
        .map(entry => entry.packageVersion)
        .sort(),
      versions,
    );
  });

  it('goes on working while an upload stalls', async () => {
    const slow = new PassThrough();
    slow.write(sampleZip('1.0.0').subarray(0, 50));
    const stalled = store.install(slow, { makeCurrent: true });
    await put('2.0.0');
    slow.end(sampleZip('1.0.0').subarray(50));
    assert.equal((await stalled).created, true);
  });

  it('throws an interrupted upload away', async () => {
    const broken = new PassThrough();
    broken.write(sampleZip('1.0.0').subarray(0, 50));
    const failed = store.install(broken, { makeCurrent: true });
    broken.destroy(new Error('the client went away'));
    await assert.rejects(failed, /went away/);
    assert.deepEqual(store.list(), []);
    assert.deepEqual(await readdir(join(directory, 'staging')), []);
  });

  it('stops reading at the size limit and leaves the stream open for the answer', async () => {
    await reopen({ limits: { archiveBytesMax: 100_000 } });
    let produced = 0;
    const endless = new Readable({
      read() {
        produced += 16_384;
        this.push(Buffer.alloc(16_384));
      },
    });
    await assert.rejects(store.install(endless, { makeCurrent: true }), hasCode('HF_PACKAGE_TOO_LARGE'));
    assert(produced < 400_000, `read ${produced} bytes`);
    assert.equal(endless.destroyed, false);
    endless.destroy();
  });

  it('writes nothing outside its folder for a hostile archive', async () => {
    for (const name of ['../evil', '/tmp/holdfast-evil', 'content/../../../evil']) {
      await assert.rejects(
        store.install(packageZip([{ name }]), { makeCurrent: true }),
        hasCode('HF_PACKAGE_INVALID'),
      );
    }
    const damaged = packageZip([
      { name: 'content/late.js', content: 'abc', method: 0, data: Buffer.from('abd') },
    ]);
    await assert.rejects(store.install(damaged, { makeCurrent: true }), hasCode('HF_PACKAGE_INVALID'));
    assert.deepEqual(await readdir(join(directory, '..')), ['packages']);
    assert.deepEqual(await readdir(join(directory, 'staging')), []);
    assert.deepEqual(await readdir(join(directory, 'archives')), []);
  });

  describe('integrity', () => {
    const installed = (path: string) => join(directory, 'sample/1.0.0', path);
    const damages: [title: string, damage: () => Promise<void>, problem: RegExp][] = [
      [
        'a changed file',
        () => writeFile(installed('content/index.js'), 'export default () => (1);\n'),
        /changed|size/,
      ],
      ['a longer file', () => appendFile(installed('content/index.js'), 'x'), /another size/],
      ['a missing file', () => unlink(installed('content/version.txt')), /version\.txt is missing/],
      ['an added file', () => writeFile(installed('content/extra.js'), ''), /extra\.js does not belong/],
      ['a missing folder', () => rm(installed(''), { recursive: true }), /no such file|missing/],
    ];
    beforeEach(() => put('1.0.0'));

    for (const [title, damage, problem] of damages) {
      it(`sees ${title} before a start, at verify and when opened, and is mended by the same upload`, async () => {
        await store.verifyOne('sample', '1.0.0');
        await damage();
        await assert.rejects(store.verifyOne('sample', '1.0.0'), hasCode('HF_PACKAGE_CORRUPT'));
        await reopen();
        const stored = store.get('sample');
        assert.equal(stored.status, 'corrupt');
        assert.match(stored.problem!, problem);
        const result = await store.verify();
        assert.deepEqual([result.checked, result.corrupt.length], [1, 1]);
        assert.equal((await post('1.0.0')).created, false);
        assert.equal(store.get('sample').status, 'ok');
        assert.equal((await store.verifyOne('sample', '1.0.0')).problem, undefined);
        await reopen();
        assert.equal(store.get('sample').status, 'ok');
      });
    }

    it('sees a change of content that keeps size and modification time', async () => {
      const path = installed('content/index.js');
      const before = await stat(path);
      const content = await readFile(path);
      content[0]! ^= 1;
      await writeFile(path, content);
      const { utimes } = await import('node:fs/promises');
      await utimes(path, before.atime, before.mtime);
      await assert.rejects(store.verifyOne('sample', '1.0.0'), /index\.js was changed/);
    });

    it('accepts a file that was only touched', async () => {
      await chmod(installed('content/index.js'), 0o400);
      await store.verifyOne('sample', '1.0.0');
    });

    it('does not hand on a changed archive, though the installed files may be started', async () => {
      await appendFile(store.archivePath('sample', '1.0.0'), 'x');
      await store.verify();
      assert.throws(() => store.archivePath('sample', '1.0.0'), hasCode('HF_PACKAGE_CORRUPT'));
      assert.equal(store.get('sample').status, 'ok');
      assert.match(store.get('sample').problem!, /archive was changed/);
      await post('1.0.0');
      assert.equal(store.get('sample').problem, undefined);
    });

    it('trusts nothing when the record of the digests was changed', async () => {
      await appendFile(join(directory, 'archives/sample-1.0.0.json'), ' ');
      await reopen();
      assert.match(store.get('sample').problem!, /record of its files was changed/);
    });

    it('does not roll back to a damaged version', async () => {
      await put('2.0.0');
      await unlink(installed('content/index.js'));
      await assert.rejects(store.rollback('sample'), hasCode('HF_PACKAGE_CORRUPT'));
      assert.equal(store.get('sample').packageVersion, '2.0.0');
    });
  });

  describe('opening', () => {
    it('refuses a folder that another opener has, and gives it back at close', async () => {
      await assert.rejects(openStore(), hasCode('HF_ALREADY_RUNNING'));
      await store.close();
      await store.close();
      await assert.rejects(put('1.0.0'), hasCode('HF_UNAVAILABLE'));
      store = await openStore();
    });

    it('refuses a folder with something else in it and leaves it alone', async () => {
      await mkdir(join(directory, '../other'));
      await writeFile(join(directory, '../other/thesis.txt'), 'x');
      await assert.rejects(
        openStore({ directory: join(directory, '../other') }),
        hasCode('HF_STATE_UNUSABLE'),
      );
      assert.deepEqual(await readdir(join(directory, '../other')), ['thesis.txt']);
    });

    it('says so when the folder cannot be made', async () => {
      await writeFile(join(directory, '../file'), '');
      await assert.rejects(
        openStore({ directory: join(directory, '../file/store') }),
        hasCode('HF_STATE_UNUSABLE'),
      );
    });

    it('sweeps what the catalog does not name, but nothing that is not its own', async () => {
      await put('1.0.0');
      await store.close();
      for (const path of ['staging/abc/package', 'sample/9.9.9/content', 'ghost/1.0.0', 'notes', 'Foreign']) {
        await mkdir(join(directory, path), { recursive: true });
      }
      for (const path of [
        'archives/ghost-1.0.0.zip',
        'catalog.json.ab12.tmp',
        'notes/keep.txt',
        'Foreign/1.0.0',
        'keep.md',
      ]) {
        await writeFile(join(directory, path), 'x');
      }
      store = await openStore();
      assert.deepEqual(versionsOf(store), ['sample@1.0.0*']);
      const left = Object.keys(await snapshot(directory)).filter(path => !/^\.lock|backup$/.test(path));
      assert.deepEqual(
        left.sort(),
        [
          ...expectedPaths(store, sampleContent),
          'keep.md',
          'notes',
          'notes/keep.txt',
          'Foreign',
          'Foreign/1.0.0',
        ].sort(),
      );
    });

    for (const [title, content] of [
      ['empty', ''],
      ['cut off', '{"format":1,"packages":[{'],
      ['of another shape', '{"format":1,"packages":[{"name":"../../etc"}]}'],
    ] as const) {
      it(`recovers all that is installed when the catalog is ${title}`, async () => {
        for (const version of ['1.0.0', '2.0.0', '3.0.0']) await put(version);
        await store.remove('sample', '1.0.0');
        const before = store.list().map(entry => entry.packageVersion);
        await store.close();
        await writeFile(join(directory, 'catalog.json'), content);
        store = await openStore();
        assert.deepEqual(
          store.list().map(entry => entry.packageVersion),
          before,
        );
        assert.equal(store.get('sample').current, true);
        assert.equal(await readFile(join(directory, 'catalog.json.corrupt'), 'utf8'), content);
      });
    }

    it('rebuilds a catalog that is gone with its backup', async () => {
      for (const version of ['1.0.0', '2.0.0']) await put(version);
      await store.close();
      await rm(join(directory, 'catalog.json'));
      await rm(join(directory, 'catalog.json.backup'));
      store = await openStore();
      assert.deepEqual(
        store.list().map(entry => [entry.packageVersion, entry.status]),
        [
          ['1.0.0', 'ok'],
          ['2.0.0', 'ok'],
        ],
      );
    });
  });
});
