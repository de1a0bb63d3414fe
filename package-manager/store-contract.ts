/** What the package store offers, and what it is given. */
import type { Logger, PackageInfo, System } from '#core';
import type { InstallationStep } from './installation.ts';
import type { PackageLimits } from './limits.ts';
import type { PackageSource } from './package-source.ts';

/** The points at which a crash leaves something different on disk, in the order in which they are passed. */
export type StoreStep =
  'staged' | 'inspected' | InstallationStep | 'committing' | 'backup-made' | 'committed' | 'discarded';

export interface PackageStoreOptions {
  /** Made (0700) if it does not exist. */
  directory: string;
  system: System;
  limits?: Partial<PackageLimits>;
  /** Versions of a package that stay; default 5. More stay while they are current or in use. */
  keepVersions?: number;
  /** Whether anything runs from this version. Asked at the moment of a removal. */
  inUse?: (name: string, version: string) => boolean;
  log?: Logger;
  /** Node version that `engines.node` is checked against; default: the running one. */
  nodeVersion?: string;
  /** For tests that stop the process at a step. */
  onStep?: (step: StoreStep) => void | Promise<void>;
}

/** A version in the store, with the absolute folder that holds its `manifest.json`. */
export interface StoredPackage extends PackageInfo {
  directory: string;
}

/** What may be told outside: where the files lie is nobody's business. */
export function packageInfo({ directory: _directory, ...info }: StoredPackage): PackageInfo {
  return info;
}

export interface VerifyResult {
  checked: number;
  corrupt: StoredPackage[];
}

export interface PackageStore {
  /**
   * Validates and stores. `created` is false when this version is here already with the same bytes (which then mends it,
   * should its files be damaged). The first version of a package becomes current in any case.
   * A stream that is refused is neither drained nor destroyed: that is left to its owner, who may still have to answer.
   * @throws HoldfastError HF_PACKAGE_INVALID, HF_PACKAGE_TOO_LARGE, HF_PACKAGE_CONFLICT, HF_CAPACITY (disk full)
   */
  install(
    source: PackageSource,
    options: { makeCurrent: boolean },
  ): Promise<{ package: StoredPackage; created: boolean }>;
  /**
   * As `install` with the archive of this digest, for one that is here already and whole.
   * @throws HoldfastError HF_PACKAGE_NOT_FOUND: it has to be sent
   */
  useStored(sha256: string, options: { makeCurrent: boolean }): Promise<StoredPackage>;
  /** All versions, by name, then in the order of installation. */
  list(): StoredPackage[];
  /** The current version if none is named. @throws HoldfastError HF_PACKAGE_NOT_FOUND */
  get(name: string, version?: string): StoredPackage;
  /**
   * Removes one version, or all. If the current one goes, the one that was current before takes its place (or the
   * one installed last). @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_IN_USE
   */
  remove(name: string, version?: string): Promise<void>;
  /** Makes current what was current before. @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_ROLLBACK_IMPOSSIBLE */
  rollback(name: string): Promise<StoredPackage>;
  /** Absolute path of the stored ZIP. @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_CORRUPT */
  archivePath(name: string, version: string): string;
  /** Reads every installed file and archive again. */
  verify(): Promise<VerifyResult>;
  /**
   * Before a start: looks at every file of this version, and reads those that were touched since the last look.
   * @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_CORRUPT
   */
  verifyOne(name: string, version: string): Promise<StoredPackage>;
  /** Waits for the change under way, refuses further ones, and lets another process open the store. */
  close(): Promise<void>;
}
