/** Damage at random: whatever is done to a valid ZIP, it is refused, or what is installed is what the valid one holds. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { createSystem, HoldfastError } from '#core';
import { openPackageStore, type PackageStore } from '#package-manager';
import { packageZip } from '../fixtures/package-manager/packages.ts';

const valid = packageZip(
  [
    { name: 'content/stored.txt', content: 'stored as it is', method: 0 },
    { name: 'content/käse.txt', content: 'streamed '.repeat(30), descriptor: 'signed' },
    { name: 'content/lib/' },
    { name: 'content/lib/run.sh', content: '#!/bin/sh\n', mode: 0o100755, descriptor: 'unsigned64' },
  ],
  { end: { comment: Buffer.from('a comment'), zip64: {} } },
);

interface Mutation {
  position: number;
  removed: number;
  inserted: Uint8Array;
}

const interestingByte = fc.oneof(fc.constantFrom(0, 1, 0x2e, 0x2f, 0x5c, 0x7f, 0x80, 0xff), fc.nat(255));
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .record({
        position: fc.nat(valid.length - 1),
        bytes: fc.array(interestingByte, { minLength: 1, maxLength: 4 }),
      })
      .map(({ position, bytes }) => ({ position, removed: bytes.length, inserted: Uint8Array.from(bytes) })),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      position: fc.nat(valid.length),
      removed: fc.nat(40),
      inserted: fc.uint8Array({ maxLength: 40 }),
    }),
  },
  // The end is where the records are that everything else hangs on.
  {
    weight: 3,
    arbitrary: fc
      .record({ fromEnd: fc.integer({ min: 1, max: 110 }), byte: interestingByte })
      .map(({ fromEnd, byte }) => ({
        position: valid.length - fromEnd,
        removed: 1,
        inserted: Uint8Array.of(byte),
      })),
  },
);

function mutate(mutations: readonly Mutation[]): Buffer {
  return mutations.reduce<Buffer>(
    (zip, { position, removed, inserted }) =>
      Buffer.concat([zip.subarray(0, position), inserted, zip.subarray(position + removed)]),
    valid,
  );
}

describe('package store, given a ZIP damaged at random', () => {
  let folder: string;
  let store: PackageStore;
  let contents: Record<string, string>;

  async function contentsOf(directory: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      found[path.slice(directory.length)] = entry.isDirectory() ? 'folder' : await readFile(path, 'base64');
    }
    return found;
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
    store = await openPackageStore({ directory: join(folder, 'packages'), system: createSystem() });
    const { package: stored } = await store.install(valid, { makeCurrent: true });
    contents = await contentsOf(stored.directory);
    await store.remove('sample');
  });
  after(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  it('installs the same content or refuses, and leaves nothing else anywhere', async () => {
    const packages = join(folder, 'packages');
    const before = (await readdir(packages)).sort();
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async mutations => {
        const zip = mutate(mutations);
        try {
          const { package: stored } = await store.install(zip, { makeCurrent: true });
          assert.deepEqual(await contentsOf(stored.directory), contents);
          await store.remove(stored.packageName);
        } catch (error) {
          if (!(error instanceof HoldfastError)) throw error;
          assert(['HF_PACKAGE_INVALID', 'HF_PACKAGE_TOO_LARGE'].includes(error.code), error.message);
        }
        assert.deepEqual(store.list(), []);
        assert.deepEqual((await readdir(packages)).sort(), before);
        assert.deepEqual(await readdir(join(packages, 'staging')), []);
        assert.deepEqual(await readdir(join(packages, 'archives')), []);
        assert.deepEqual(await readdir(folder), ['packages']);
      }),
      { numRuns: 500 },
    );
  }).timeout(120_000);
});
