/** Every default and bound that more than one folder relies on, and the relations that must hold between them. */
import { strict as assert } from 'node:assert';

export const DEFAULTS = {
  nodePort: 5100,
  firstHostPort: 5200,
  /** How many ports from there on a host tries. */
  hostPortsTried: 1_000,
  masterPort: 7777,
  routerPort: 8000,
  syncIntervalMs: 50_000,
  sessionTtlMs: 5_000,
  /** How long a request waits for an owner. */
  holdMs: 10_000,
  orphanGraceMs: 30_000,
  /** What the warm spares of a node may take together. */
  spareMemoryMb: 128,
  /** How long a host's event loop may answer nothing before its agent replaces it. */
  livenessMs: 20_000,
  /** How long a stop may take, from the request to the last process gone. */
  stopMs: 8_000,
  /** How long the components themselves get within that. */
  stopGraceMs: 6_000,
} as const;

export const LIMITS = {
  keyBytesMax: 1_024,
  settingsBytesMax: 4 * 1024 * 1024,
  /** How deep arrays and objects of a document may lie in each other. */
  documentDepthMax: 100,
  /** How long checking the schema of a package, or settings by it, may hold up the process. */
  schemaCheckMsMax: 3_000,
  sessionTtlMsMin: 500,
  sessionTtlMsMax: 300_000,
} as const;

assert(DEFAULTS.holdMs >= DEFAULTS.sessionTtlMs + 2_000, 'a request must outlast the loss of a node');
assert(DEFAULTS.stopGraceMs < DEFAULTS.stopMs);
