/**
 * Decides whether an archive is an acceptable package, before a byte of it is unpacked: names, types, declared sizes,
 * layout, a second reader's opinion, manifest. What it returns may be extracted; the content of each entry is checked
 * while that happens.
 */
import { posix } from 'node:path';
import { parseManifest, type Manifest } from '#core';
import semver from 'semver';
import type { ByteSource } from './byte-source.ts';
import { readWholeContent } from './entry-data.ts';
import { assertNoClashes } from './entry-name.ts';
import type { PackageLimits } from './limits.ts';
import { invalid, tooLarge } from './refusal.ts';
import { assertSecondReaderAgrees } from './second-reader.ts';
import { readDirectory, type ZipEntry } from './zip-directory.ts';
import { locateEntries, type LocatedEntry } from './zip-layout.ts';

export interface Inspection {
  manifest: Manifest;
  /** In the order of their bytes. */
  entries: LocatedEntry[];
}

export interface InspectionRules {
  limits: PackageLimits;
  /** The Node version that `engines.node` is checked against. */
  nodeVersion: string;
}

const manifestName = 'manifest.json';

/** @throws HoldfastError HF_PACKAGE_INVALID or HF_PACKAGE_TOO_LARGE */
export async function inspectPackage(source: ByteSource, rules: InspectionRules): Promise<Inspection> {
  const { limits } = rules;
  const entries = await inspectArchive(source, limits);
  await assertSecondReaderAgrees(entries);
  const manifest = await readManifest(source, entries, limits);
  assertMain(manifest, entries);
  assertVersions(manifest, rules.nodeVersion);
  return { manifest, entries };
}

/** What holds for any ZIP that we alone read, whatever is in it. @throws HoldfastError HF_PACKAGE_INVALID or HF_PACKAGE_TOO_LARGE */
export async function inspectArchive(source: ByteSource, limits: PackageLimits): Promise<LocatedEntry[]> {
  if (source.sizeBytes > limits.archiveBytesMax) throw archiveTooLarge(limits, source.sizeBytes);
  const directory = await readDirectory(source, limits);
  assertNoClashes(
    directory.entries.map(entry => entry.name),
    limits,
  );
  assertDeclaredSizes(directory.entries, limits);
  return locateEntries(source, directory);
}

export function archiveTooLarge(limits: PackageLimits, actual: number): Error {
  return tooLarge('it is too large', {
    expected: 'a smaller archive; leave out what the code does not need, or raise the limit',
    limit: limits.archiveBytesMax,
    actual,
  });
}

function assertDeclaredSizes(entries: readonly ZipEntry[], limits: PackageLimits): void {
  let totalBytes = 0;
  let compressedBytes = 0;
  for (const entry of entries) {
    totalBytes += entry.sizeBytes;
    compressedBytes += entry.compressedBytes;
    if (entry.sizeBytes > limits.entryBytesMax) {
      throw tooLarge('the file is too large', {
        entry: entry.name,
        expected: 'a smaller file, or a higher limit',
        limit: limits.entryBytesMax,
        actual: entry.sizeBytes,
      });
    }
    assertRatio(entry.sizeBytes, entry.compressedBytes, limits, entry.name);
  }
  if (totalBytes > limits.totalBytesMax) {
    throw tooLarge('its files together are too large', {
      expected: 'less content, or a higher limit',
      limit: limits.totalBytesMax,
      actual: totalBytes,
    });
  }
  assertRatio(totalBytes, compressedBytes, limits);
}

function assertRatio(
  sizeBytes: number,
  compressedBytes: number,
  limits: PackageLimits,
  entry?: string,
): void {
  if (sizeBytes <= limits.ratioFloorBytes || sizeBytes <= compressedBytes * limits.ratioMax) return;
  throw tooLarge('it unpacks to suspiciously more than it holds', {
    ...(entry === undefined ? {} : { entry }),
    expected: `at most ${limits.ratioMax} times its packed size; store such data unpacked elsewhere`,
    limit: limits.ratioMax,
    actual: Math.ceil(sizeBytes / Math.max(1, compressedBytes)),
  });
}

async function readManifest(
  source: ByteSource,
  entries: readonly LocatedEntry[],
  limits: PackageLimits,
): Promise<Manifest> {
  const entry = entries.find(({ name }) => name === manifestName);
  if (!entry) {
    const elsewhere = entries.find(({ name }) => name.split('/').pop()?.toLowerCase() === manifestName);
    throw elsewhere
      ? invalid('the manifest is not at the root of the ZIP', {
          entry: elsewhere.name,
          expected: `${manifestName} at the root; zip the folder's content, not the folder`,
        })
      : invalid('it has no manifest', {
          entry: manifestName,
          expected: `${manifestName} at the root of the ZIP`,
        });
  }
  if (entry.sizeBytes > limits.manifestBytesMax) {
    throw tooLarge('the manifest is too large', {
      entry: manifestName,
      expected: 'a small JSON document',
      limit: limits.manifestBytesMax,
      actual: entry.sizeBytes,
    });
  }
  return parseManifest((await readWholeContent(source, entry)).toString('utf8'));
}

function assertMain(manifest: Manifest, entries: readonly LocatedEntry[]): void {
  const main = posix.join(manifest.contentRoot, manifest.main);
  if (entries.some(entry => entry.name === main && !entry.isFolder)) return;
  const candidates = entries
    .filter(entry => /\.[cm]?[jt]s$/.test(entry.name))
    .slice(0, 5)
    .map(entry => entry.name);
  throw invalid('the file that the manifest names as contentRoot and main is missing', {
    entry: main,
    expected: `this file in the ZIP, or another main${candidates.length > 0 ? `; it has ${candidates.join(', ')}` : ''}`,
  });
}

function assertVersions(manifest: Manifest, nodeVersion: string): void {
  const { packageName, packageVersion } = manifest;
  if (semver.valid(packageVersion) === null) {
    throw invalid(`$.packageVersion is "${packageVersion}"`, {
      entry: manifestName,
      expected: 'a semantic version, for example 1.2.0',
    });
  }
  // The store's own files and folders lie beside the packages' folders.
  if (['archives', 'staging'].includes(packageName) || packageName.startsWith('catalog.json')) {
    throw invalid(`$.packageName "${packageName}" is reserved`, {
      entry: manifestName,
      expected: 'another name',
    });
  }
  const range = manifest.engines?.node;
  if (range === undefined) return;
  if (semver.validRange(range) === null) {
    throw invalid(`$.engines.node is "${range}"`, {
      entry: manifestName,
      expected: 'a semver range like ">=24"',
    });
  }
  if (!semver.satisfies(nodeVersion, range, { includePrerelease: true })) {
    throw invalid(`$.engines.node asks for Node ${range}, and this is ${nodeVersion}`, {
      entry: manifestName,
      expected: 'a package that runs on the Node of this node; widen the range or upgrade Node',
    });
  }
}
