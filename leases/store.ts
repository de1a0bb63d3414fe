/** The port of this folder: what every lease adapter gives. The operations themselves are `LeaseService` of #core. */
import type { LeaseService } from '#core';

/** A lease service that was opened, and so must be closed by whoever opened it. */
export interface LeaseStore extends LeaseService {
  /** Lets go of file or connection. Leases stay as they are and end by their own time. Idempotent. */
  close(): Promise<void>;
}
