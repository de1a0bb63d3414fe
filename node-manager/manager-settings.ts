/** Settings of the package `node-manager`; see its manifest for defaults. */
export interface ManagerSettings {
  /** The cluster settings file to watch; absolute. Without it the settings live in the store only. */
  settingsFile?: string;
  host: string;
  port: number;
  leaseTtlMs: number;
  /** How often nodes are looked at between syncs. */
  livenessMs: number;
  /** How long one look at a node may take. */
  nodeTimeoutMs: number;
  /** How long a node may be away before its instances are replaced elsewhere. */
  deadAfterMs: number;
  /** A node that was lost so often within the window gets no more copies until it was steady for the hold time; 0: never. */
  flapLosses: number;
  flapWindowMs: number;
  flapHoldMs: number;
  /** How long a new leader waits for nodes that it has not seen, before it places anything. */
  startupGraceMs: number;
  uploadBytesMax: number;
  /** How far a host's keys may be from its share, as a fraction of it, before keys are moved. */
  rebalanceThreshold: number;
  /** Keys that may be moved in a minute for the sake of balance; 0: none ever. */
  rebalanceMovesPerMinute: number;
}
