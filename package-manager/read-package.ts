/** Checks a package without installing it: what `holdfast pack` and `deploy` do before they send anything. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '#core';
import { bufferSource, fileSource, type ByteSource } from './byte-source.ts';
import { readContent } from './entry-data.ts';
import { inspectPackage, type InspectionRules } from './inspection.ts';
import { defaultPackageLimits, type PackageLimits } from './limits.ts';
import {
  copyArchive,
  digestOf,
  expectErrors,
  isStream,
  type Digest,
  type PackageSource,
} from './package-source.ts';

export interface ReadPackageOptions {
  limits?: Partial<PackageLimits>;
  /** Default: the running one. */
  nodeVersion?: string;
}

export interface PackageFacts extends Digest {
  manifest: Manifest;
}

/**
 * Validates all of it, every entry's content too, and returns what it is. Nothing is left on disk.
 * @throws HoldfastError HF_PACKAGE_INVALID or HF_PACKAGE_TOO_LARGE, with `details.entry` and `details.expected`
 */
export async function readPackage(
  source: PackageSource,
  options: ReadPackageOptions = {},
): Promise<PackageFacts> {
  expectErrors(source);
  const rules: InspectionRules = {
    limits: { ...defaultPackageLimits, ...options.limits },
    nodeVersion: options.nodeVersion ?? process.versions.node,
  };
  if (Buffer.isBuffer(source)) {
    const digest = await digestOf(source, rules.limits);
    return { ...digest, manifest: await validate(bufferSource(source), rules) };
  }
  if (!isStream(source)) {
    const digest = await digestOf(source, rules.limits);
    return { ...digest, manifest: await validateFile(source.path, rules) };
  }
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-package-'));
  try {
    const path = join(folder, 'package.zip');
    await using file = await open(path, 'wx', 0o600);
    const digest = await copyArchive(source, file, rules.limits);
    return { ...digest, manifest: await validateFile(path, rules) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function validateFile(path: string, rules: InspectionRules): Promise<Manifest> {
  await using file = await open(path, 'r');
  return await validate(fileSource(file, (await file.stat()).size), rules);
}

async function validate(source: ByteSource, rules: InspectionRules): Promise<Manifest> {
  const { manifest, entries } = await inspectPackage(source, rules);
  for (const entry of entries) if (!entry.isFolder) await readContent(source, entry, () => undefined);
  return manifest;
}
