/** Which host of a pool gets a key that has no live owner. Pure. */

/** What placement looks at; a `Session` of #core is one. */
export interface Candidate {
  readonly sessionId: string;
  readonly ownsResources: boolean;
  readonly draining: boolean;
  readonly ready: boolean;
  /** Relative share of keys, at least 1. */
  readonly capacity: number;
  readonly keys: number;
}

/**
 * The live session with the fewest keys per capacity among those that may take new keys; on a tie the one with fewer
 * keys, then the one whose id comes first, so that equal input always gives the same owner. Null if none may.
 */
export function chooseOwner<C extends Candidate>(candidates: Iterable<C>): C | null {
  let best: C | null = null;
  for (const candidate of candidates) {
    if (!candidate.ownsResources || candidate.draining || !candidate.ready) continue;
    if (best === null || compareLoad(candidate, best) < 0) best = candidate;
  }
  return best;
}

function compareLoad(a: Candidate, b: Candidate): number {
  // Multiplied crosswise: division would make ties depend on rounding.
  const byShare = a.keys * b.capacity - b.keys * a.capacity;
  return byShare || a.keys - b.keys || (a.sessionId < b.sessionId ? -1 : 1);
}
