import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseManifest } from '#core';
import {
  emptyCatalog,
  findPackage,
  surplusVersions,
  withCurrent,
  withoutVersions,
  withRollback,
  withVersion,
  type Catalog,
  type CatalogVersion,
} from '../../package-manager/catalog.ts';
import { manifestText } from '../fixtures/package-manager/packages.ts';

function version(name: string): CatalogVersion {
  return {
    version: name,
    sha256: '0'.repeat(64),
    sizeBytes: 1,
    installedAt: '2026-01-01T00:00:00.000Z',
    recordSha256: '0'.repeat(64),
    manifest: parseManifest(manifestText({ packageVersion: name })),
  };
}

type Change =
  | { kind: 'install'; version: string; makeCurrent: boolean }
  | { kind: 'current' | 'remove'; version: string }
  | { kind: 'rollback' };

const versionName = fc.constantFrom<string[]>('1.0.0', '2.0.0', '3.0.0', '4.0.0', '5.0.0', '6.0.0', '7.0.0');
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('install' as const), version: versionName, makeCurrent: fc.boolean() }),
  fc.record({ kind: fc.constantFrom('current' as const, 'remove' as const), version: versionName }),
  fc.record({ kind: fc.constant('rollback' as const) }),
);

const has = (catalog: Catalog, name: string) =>
  findPackage(catalog, 'p')?.versions.some(entry => entry.version === name) ?? false;

function apply(catalog: Catalog, step: Change): Catalog {
  switch (step.kind) {
    case 'install':
      return withVersion(catalog, 'p', version(step.version), step);
    case 'current':
      return has(catalog, step.version) ? withCurrent(catalog, 'p', step.version) : catalog;
    case 'remove':
      return withoutVersions(catalog, 'p', [step.version]);
    case 'rollback':
      return findPackage(catalog, 'p')?.history.length ? withRollback(catalog, 'p') : catalog;
  }
}

describe('package catalog', () => {
  it('always has a current version that exists, and a history that a rollback can follow', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), changes => {
        let catalog = emptyCatalog;
        for (const step of changes) {
          const before = structuredClone(catalog);
          const next = apply(catalog, step);
          assert.deepEqual(catalog, before, 'changes yield a new catalog');
          catalog = next;
          const found = findPackage(catalog, 'p');
          if (!found) continue;
          const stored = found.versions.map(entry => entry.version);
          assert.equal(new Set(stored).size, stored.length);
          assert(stored.includes(found.current));
          for (const [index, past] of found.history.entries()) {
            assert(stored.includes(past));
            assert.notEqual(past, found.history[index + 1] ?? found.current);
          }
        }
      }),
    );
  });

  it('undoes making a version current by a rollback', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), versionName, (changes, target) => {
        const catalog = changes.reduce(apply, emptyCatalog);
        const current = findPackage(catalog, 'p')?.current;
        if (current === undefined || current === target || !has(catalog, target)) return;
        assert.equal(
          findPackage(withRollback(withCurrent(catalog, 'p', target), 'p'), 'p')!.current,
          current,
        );
      }),
    );
  });

  it('gives up those installed first, never the current one or one to keep', () => {
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        fc.uniqueArray(versionName),
        (changes, keep, kept) => {
          const catalog = changes.reduce(apply, emptyCatalog);
          const surplus = surplusVersions(catalog, 'p', keep, name => kept.includes(name));
          const found = findPackage(catalog, 'p');
          if (!found) return assert.deepEqual(surplus, []);
          const stored = found.versions.map(entry => entry.version);
          const free = stored.filter(name => name !== found.current && !kept.includes(name));
          assert.deepEqual(surplus, free.slice(0, Math.max(0, stored.length - keep)));
        },
      ),
    );
  });
});
