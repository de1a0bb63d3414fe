/**
 * Nodes that come and go: one that was lost several times within a window is flapping, gets no more copies, and is trusted again only when it has
 * answered without a break for a while. Without that every return would pull copies to it which the next loss takes away. Pure.
 *
 *   steady --(the `lossesMax`-th loss within `windowMs`)--> flapping --(ready for `holdMs`)--> steady
 */
export interface FlappingRule {
  /** Losses within the window that make a node flap; 0: none does ever. */
  lossesMax: number;
  windowMs: number;
  holdMs: number;
}

export interface FlappingState {
  /** When it was lost, within the window; oldest first. */
  losses: readonly number[];
  flapping: boolean;
  /** Since when it answers; null: it does not. */
  readySinceMs: number | null;
}

export const steady: FlappingState = { losses: [], flapping: false, readySinceMs: null };

/** @param ready whether it answers, as seen at `nowMs` */
export function stepFlapping(
  state: FlappingState,
  ready: boolean,
  nowMs: number,
  { lossesMax, windowMs, holdMs }: FlappingRule,
): FlappingState {
  const lost = !ready && state.readySinceMs !== null;
  const kept = state.losses.filter(atMs => nowMs - atMs < windowMs);
  const losses = lost ? [...kept, nowMs] : kept;
  const readySinceMs = ready ? (state.readySinceMs ?? nowMs) : null;
  if (state.flapping && readySinceMs !== null && nowMs - readySinceMs >= holdMs) {
    return { losses: [], flapping: false, readySinceMs };
  }
  const flapping = state.flapping || (lossesMax > 0 && losses.length >= lossesMax);
  return { losses, flapping, readySinceMs };
}
