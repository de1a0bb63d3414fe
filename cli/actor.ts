/** For whom a command acts: the user and machine it runs as, for the cluster's records of who changed what. A statement, not a proof. */
import { hostname, userInfo } from 'node:os';

/** `ada@laptop`; what a header cannot carry is replaced. */
export function commandActor(): string {
  return `${userName()}@${hostname()}`.replaceAll(/[^\x20-\x7e]/g, '_');
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`; // a user without an entry in the machine's list, as in many containers
  }
}
