/** Typed REST clients of the node API and the master API, for the cli, the node manager and tests. */
export type { ConnectionOptions } from './http.ts';
export type { Zip } from './upload.ts';
export { createDeadLetterClient, type DeadLetterClient } from './dead-letter-client.ts';
export { createHostClient, type HandOffRequest, type HostClient } from './host-client.ts';
export {
  createMasterClient,
  type KeyPause,
  type MasterClient,
  type MasterPackage,
  type MasterUpload,
  type RestoreOutcome,
  type SettingsDiff,
  type SyncOutcome,
} from './master-client.ts';
export {
  createNodeClient,
  type CallDeadline,
  type NodeClient,
  type NodeClientOptions,
  type UploadOutcome,
} from './node-client.ts';
export { createEventParser, type ServerSentEvent } from './server-sent-events.ts';
