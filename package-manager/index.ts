/** Packages: validated, stored in versions side by side, rolled back, removed, checked. See docs/architecture.md. */
export { openArchive, type Archive } from './archive.ts';
export { openPackageStore } from './package-store.ts';
export { packageInfo } from './store-contract.ts';
export type {
  PackageStore,
  PackageStoreOptions,
  StoredPackage,
  StoreStep,
  VerifyResult,
} from './store-contract.ts';
export { readPackage, type PackageFacts, type ReadPackageOptions } from './read-package.ts';
export type { PackageSource } from './package-source.ts';
export { archiveLimits, defaultPackageLimits, type PackageLimits } from './limits.ts';
export { createDurableAdapter, type DurableAdapterOptions } from './durable-adapter.ts';
