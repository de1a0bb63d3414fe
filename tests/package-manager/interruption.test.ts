/** The store is killed at every step of every operation; what is found afterwards is the old state or the new one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem } from '#core';
import { openPackageStore, type PackageStore } from '#package-manager';
import { operations, type Operation } from '../fixtures/package-manager/interrupted-store.ts';
import { sampleZip } from '../fixtures/package-manager/packages.ts';
import { expectedPaths, snapshot, versionsOf } from '../fixtures/package-manager/store-folder.ts';

const fixture = join(import.meta.dirname, '../fixtures/package-manager/interrupted-store.ts');
const sampleContent = ['content', 'content/index.js', 'content/version.txt', 'manifest.json'];

describe('package store, killed', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const openStore = (directory: string): Promise<PackageStore> =>
    openPackageStore({ directory, system: createSystem() });

  /** Runs the operation in a process of its own; the steps that it passed. */
  async function run(directory: string, operation: Operation, step: number): Promise<string[]> {
    const child = spawn(process.execPath, [fixture, directory, operation, String(step)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(folder, 'compile-cache') },
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', text => (output += text));
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    assert.deepEqual(
      { code, signal },
      step < 0 ? { code: 0, signal: null } : { code: null, signal: 'SIGKILL' },
    );
    return output.trim().split('\n');
  }

  /** All that the store remembers, but for moments and the digests that depend on them. */
  async function state(directory: string): Promise<unknown> {
    const store = await openStore(directory);
    try {
      const left = Object.keys(await snapshot(directory)).filter(path => !/^\.lock|backup$/.test(path));
      const statuses = store.list().map(entry => entry.status);
      // Of a damaged version anything may be missing; of every other, nothing, and there is nothing else.
      if (!statuses.includes('corrupt')) assert.deepEqual(left.sort(), expectedPaths(store, sampleContent));
      const catalog: unknown = JSON.parse(
        await readFile(join(directory, 'catalog.json'), 'utf8'),
        (key, value: unknown) => (key === 'installedAt' || key === 'recordSha256' ? undefined : value),
      );
      return { versions: versionsOf(store), statuses, catalog };
    } finally {
      await store.close();
    }
  }

  async function seed(directory: string, versions: readonly string[], damaged: boolean): Promise<void> {
    const store = await openStore(directory);
    for (const version of versions) await store.install(sampleZip(version), { makeCurrent: true });
    await store.close();
    if (damaged) await writeFile(join(directory, 'sample/1.0.0/content/index.js'), 'changed');
  }

  const five = ['1.0.0', '2.0.0', '3.0.0', '4.0.0', '5.0.0'];
  const cases: [operation: Operation, versions: string[]][] = [
    ['first install', []],
    ['upgrade', five], // the oldest version goes in the same moment
    ['further version', ['1.0.0']],
    ['make current', ['1.0.0', '2.0.0']],
    ['mend', ['1.0.0']],
    ['remove one', ['1.0.0', '2.0.0']],
    ['remove all', ['1.0.0', '2.0.0']],
    ['rollback', ['1.0.0', '2.0.0']],
  ];
  for (const [operation, versions] of cases) {
    it(`at each step of: ${operation}`, async () => {
      const origin = join(folder, 'origin');
      await seed(origin, versions, operation === 'mend');
      const oldState = await state(origin);
      const undisturbed = join(folder, 'undisturbed');
      await cp(origin, undisturbed, { recursive: true });
      const steps = await run(undisturbed, operation, -1);
      const newState = await state(undisturbed);
      assert.notDeepEqual(newState, oldState);
      const committed = steps.indexOf('committed');
      assert(committed > 0, steps.join());

      for (const [index, step] of steps.entries()) {
        const directory = join(folder, `killed-${index}`);
        await cp(origin, directory, { recursive: true });
        assert.deepEqual(await run(directory, operation, index), steps.slice(0, index + 1));
        const found = await state(directory);
        // What is mended is right as soon as its files are in place: the catalog knew the version before.
        const isNew = operation === 'mend' ? steps.indexOf('folder-placed') <= index : committed <= index;
        assert.deepEqual(found, isNew ? newState : oldState, `killed at ${step}`);
        if (isNew) continue;
        const store = await openStore(directory);
        await operations[operation](store);
        await store.close();
        assert.deepEqual(await state(directory), newState, `done again after ${step}`);
      }
    }).timeout(240_000);
  }

  it('at any moment', async () => {
    const directory = join(folder, 'store');
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [fixture, directory, 'work on', '-1'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const closed = once(child, 'close') as Promise<[number | null, string | null]>;
      // Dies in the middle of what follows some step.
      let steps = 10 + Math.floor(Math.random() * 60);
      child.stdout.on('data', (text: Buffer) => {
        steps -= text.toString().split('\n').length - 1;
        if (steps <= 0) child.kill('SIGKILL');
      });
      const [code, signal] = await closed;
      assert.deepEqual({ code, signal }, { code: null, signal: 'SIGKILL' });
      const found = (await state(directory)) as { statuses: string[] };
      assert(!found.statuses.includes('corrupt'));
    }
  }).timeout(60_000);
});
