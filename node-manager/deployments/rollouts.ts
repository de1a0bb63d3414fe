/** What the plan may change now, as the deployments want it. Pure. */
import type { Rollout } from '../planning/model.ts';
import type { DeploymentsState, Track } from './model.ts';

/** @param wanted the revision of each instance that the settings want; null: its packages are not known */
export function rolloutsOf(
  state: DeploymentsState,
  wanted: readonly { instanceId: string; revisionId: string | null }[],
): Record<string, Rollout> {
  const rollouts: Record<string, Rollout> = {};
  for (const { instanceId, revisionId } of wanted) {
    const track = state.instances[instanceId];
    const rollout = track && revisionId !== null ? rolloutOf(track, revisionId) : null;
    if (rollout) rollouts[instanceId] = rollout;
  }
  return rollouts;
}

function rolloutOf(track: Track, revisionId: string): Rollout | null {
  const { good, active } = track;
  if (!good || revisionId === good.revisionId || revisionId === track.spent) return null;
  const previous = good.revision;
  if (active?.target.revisionId !== revisionId) {
    return { previous, limit: 0, paused: 'the change has not been recorded yet' };
  }
  const { state, reason, canary } = active.record;
  switch (state) {
    case 'canary':
      return { previous, limit: canary?.instances ?? 1, paused: null };
    case 'paused':
      return { previous, limit: active.heldAt, paused: reason ?? 'it was paused' };
    case 'rolling-back':
      return { previous, limit: 0, paused: null };
    default:
      return { previous, limit: null, paused: null };
  }
}
