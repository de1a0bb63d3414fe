/** Contracts and vocabulary that every other folder shares. */
export type * from './api-types.ts';
export type * from './deployment-types.ts';
export type * from './component.ts';
export type * from './coordination.ts';
export { cronTimes, type CronTimes } from './cron.ts';
export { jobMarkerName, SETTINGS_DOCUMENT } from './coordination.ts';
export type * from './host-protocol.ts';
export type * from './job-types.ts';
export {
  COORDINATION_FILE,
  describeStore,
  holdsPassword,
  isSameStore,
  redisAddress,
  redisAddressProblems,
  storeEndpoint,
  storeFingerprint,
  type RedisAddress,
  type StoreDescription,
} from './coordination-address.ts';
export { OWNER_HEADER } from './host-protocol.ts';
export * from './identifiers.ts';
export { DEFAULTS, LIMITS } from './limits.ts';
export { errorTable, type ErrorCode, type ErrorEntry } from './errors/table.ts';
export { fromErrorBody, HoldfastError, toErrorBody, type ErrorBody } from './errors/holdfast-error.ts';
export {
  acceptableRequestId,
  answerOnSocket,
  createHttpServer,
  type HttpServerOptions,
} from './http/http-server.ts';
export { createSystem, isoTime, type Clock, type Random, type System, type Timers } from './system/system.ts';
export { createSteadyClock } from './system/steady-clock.ts';
export { createFakeSystem, type FakeSystem } from './system/fake-system.ts';
export * from './system/durable-file.ts';
export { FOLDER_LOCK_FILES, lockFolder, type FolderLock } from './system/folder-lock.ts';
export { makeFolder } from './system/make-folder.ts';
export * from './system/process-table.ts';
export { programFile } from './system/program-file.ts';
export { socketPath } from './system/socket-path.ts';
export { canonicalJson } from './canonical-json.ts';
export { isSecretName, redact, REDACTED, redactSettings } from './redaction.ts';
export { compileSchema, ownSchema, toProblems, type CompileOptions, type Validate } from './validation.ts';
export { describeProblem, isDeeperThan, jsonPath, type Problem } from './problems.ts';
export type { Manifest, ManifestDocument } from './manifest/schema.ts';
export { deepFreeze } from './deep-freeze.ts';
export { configure, parseManifest } from './manifest/manifest.ts';
export { parseInstalledManifest } from './manifest/installed-manifest.ts';
export type { ClusterSettingsDocument } from './settings/schema.ts';
export { IDENTIFIER_FORM, PACKAGE_NAME_FORM, VERSION_FORM } from './patterns.ts';
export type * from './settings/model.ts';
export { coordinationInUseProblems } from './settings/coordination-checks.ts';
export { isLoopback, managerAddress, managerRequest } from './settings/managers.ts';
export { diffSettings, type SettingsChange } from './settings/diff.ts';
export { fillInstance, parseSettings, settingsEtag, type ParsedSettings } from './settings/settings.ts';
