/** The health of what runs here: what the component says of itself, and what its agent sees from outside. Ready is what both call ready. */
import type { HostStatus } from '#core';

type Health = HostStatus['health'];

export interface HealthRecord {
  readonly now: Health;
  /** The component starts anew; `awaitsCheck`: it is not ready before a check has found it so. */
  begin(awaitsCheck: boolean): void;
  reported(health: Health): void;
  checked(verdict: { ok: boolean; message?: string }): void;
}

const messageLengthMax = 500;
const unchecked = { ready: false, message: 'its health has not been checked yet' };

export function createHealthRecord(): HealthRecord {
  let own: Health = { ready: true };
  let seen: Health = { ready: true };
  return {
    get now() {
      return own.ready ? (seen.ready ? own : seen) : own;
    },
    begin(awaitsCheck) {
      own = { ready: true };
      seen = awaitsCheck ? unchecked : { ready: true };
    },
    reported: ({ ready, message }) => void (own = healthOf(ready, message)),
    checked: ({ ok, message }) => void (seen = healthOf(ok, message)),
  };
}

function healthOf(ready: boolean, message: string | undefined): Health {
  return { ready, ...(message ? { message: message.slice(0, messageLengthMax) } : {}) };
}
