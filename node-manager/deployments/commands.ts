/** What operators may ask of a deployment. Each is idempotent: asked twice, it is done once, and answers the same. Pure. */
import { HoldfastError } from '#core';
import { differences } from './differences.ts';
import type { ActiveDeployment, CanaryRequest, DeploymentRecord, DeploymentsState, Track } from './model.ts';
import { emptyTrack, promote } from './step.ts';

export const DEPLOYMENT_COMMANDS = ['promote', 'pause', 'resume', 'abort'] as const;
export type DeploymentCommand = (typeof DEPLOYMENT_COMMANDS)[number];

/**
 * @param updatedOf how many copies of an instance have the new revision now
 * @throws HoldfastError HF_NOT_FOUND, HF_WRONG_STATE, HF_ROLLBACK_IMPOSSIBLE
 */
export function applyCommand(
  state: DeploymentsState,
  asked: { id: string; command: DeploymentCommand; by: string; now: string },
  updatedOf: (instanceId: string) => number,
): { state: DeploymentsState; record: DeploymentRecord; changed: boolean } {
  const { id, command } = asked;
  const found = Object.entries(state.instances).find(([, track]) => track.active?.record.id === id);
  if (!found) return { state, record: endedRecord(state, id, command), changed: false };
  const [instanceId, track] = found;
  const next = commanded(track, track.active!, { ...asked, updated: updatedOf(instanceId) });
  if (next === null) return { state, record: track.active!.record, changed: false };
  return {
    state: withTrack(state, instanceId, { ...track, active: next }),
    record: next.record,
    changed: true,
  };
}

/** Makes the next deployments of these instances to the version canaries. */
export function askForCanaries(
  state: DeploymentsState,
  instanceIds: readonly string[],
  packageVersion: string,
  canary: CanaryRequest,
): DeploymentsState {
  let next = state;
  for (const id of instanceIds) {
    const track = next.instances[id] ?? emptyTrack;
    next = withTrack(next, id, { ...track, canary: { packageVersion, ...canary } });
  }
  return next;
}

function withTrack(state: DeploymentsState, id: string, track: Track): DeploymentsState {
  return { ...state, instances: { ...state.instances, [id]: track } };
}

/** Null: it is so already. */
function commanded(
  track: Track,
  active: ActiveDeployment,
  { command, by, now, updated }: { command: DeploymentCommand; by: string; now: string; updated: number },
): ActiveDeployment | null {
  const { record } = active;
  const { state } = record;
  switch (command) {
    case 'promote':
      if (record.canary?.promotedAt) return null;
      if (state === 'canary' || (state === 'paused' && active.onResume === 'canary')) {
        return promote(active, by, now);
      }
      throw wrongState(record, command, 'only a canary can be promoted');
    case 'pause':
      if (state === 'paused') return null;
      if (state === 'rolling' || state === 'canary') {
        return {
          ...active,
          onResume: state,
          heldAt: updated,
          record: { ...record, state: 'paused', reason: `paused by ${by}`, changedAt: now },
        };
      }
      throw wrongState(record, command, 'it goes back already');
    case 'resume':
      if (state === 'rolling' || state === 'canary') return null;
      if (state === 'paused') {
        return { ...active, record: { ...record, state: active.onResume, reason: null, changedAt: now } };
      }
      throw wrongState(record, command, 'it goes back already; ask for the version again when it has ended');
    case 'abort':
      if (state === 'rolling-back') return null;
      if (!track.good) {
        throw new HoldfastError(
          'HF_ROLLBACK_IMPOSSIBLE',
          `${record.id} is the first revision of ${record.instanceId}: there is nothing to go back to; change the settings, or take the instance out of them`,
        );
      }
      if (differences(track.good, active.target).length === 0) {
        throw new HoldfastError(
          'HF_ROLLBACK_IMPOSSIBLE',
          `${record.id} changes what all instances share (like sessionTtlMs): change the settings back`,
        );
      }
      return {
        ...active,
        endsAs: 'aborted',
        record: { ...record, state: 'rolling-back', reason: `aborted by ${by}`, changedAt: now },
      };
  }
}

/** What a deployment that is over answers: its record if that is what was asked for. */
function endedRecord(state: DeploymentsState, id: string, command: DeploymentCommand): DeploymentRecord {
  const record = state.ended.find(item => item.id === id);
  if (!record) {
    throw new HoldfastError('HF_NOT_FOUND', `there is no deployment ${id}; see: holdfast deployments list`);
  }
  const done =
    (command === 'promote' && record.canary?.promotedAt) ||
    (command === 'abort' && (record.state === 'aborted' || record.state === 'rolled-back'));
  if (done) return record;
  throw wrongState(record, command, 'it is over');
}

function wrongState(record: DeploymentRecord, command: DeploymentCommand, why: string): HoldfastError {
  return new HoldfastError(
    'HF_WRONG_STATE',
    `${record.id} is ${record.state} and cannot be asked to ${command}: ${why}`,
    { details: { id: record.id, state: record.state, instanceId: record.instanceId } },
  );
}
