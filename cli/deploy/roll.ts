/** Judges, from the master's status and its deployments, how far a deploy is. Pure. */
import type { DeploymentInfo, MasterDeployment, MasterInstance, MasterStatus } from '#core';

export type Roll =
  | { state: 'done' }
  /** The canaries are well, and wait for a promotion. */
  | { state: 'canary'; promote: { id: string; text: string }[] }
  /** `lasts`: counts only when it lasts, for what the status says first may be about the version before. */
  | { state: 'failed'; reason: string; lasts: boolean }
  | { state: 'going'; progress: string };

export interface RollOptions {
  instanceIds: readonly string[];
  packageVersion: string;
  /** Deployments that had ended before this deploy began: they are no answer to it. */
  endedBefore: ReadonlySet<string>;
}

/** Whether the instances run `packageVersion`, all copies and nothing else, and the deployments that lead there have ended. */
export function judgeRoll(
  status: MasterStatus,
  deployments: readonly DeploymentInfo[],
  options: RollOptions,
): Roll {
  const progress: string[] = [];
  const promote: { id: string; text: string }[] = [];
  let done = true;
  for (const id of options.instanceIds) {
    const instance = status.instances.find(one => one.id === id);
    const one = instance
      ? judgeInstance(instance, newestOf(deployments, id, options), options)
      : { state: 'going' as const, progress: `${id}: not known yet` };
    if (one.state === 'failed') return one;
    if (one.state === 'canary') promote.push(...one.promote);
    if (one.state === 'going') progress.push(one.progress);
    if (one.state !== 'done') done = false;
  }
  if (done) return { state: 'done' };
  if (progress.length > 0) return { state: 'going', progress: progress.join(', ') };
  return { state: 'canary', promote };
}

function judgeInstance(
  instance: MasterInstance,
  ended: DeploymentInfo | null,
  { packageVersion }: RollOptions,
): Roll {
  const { id, desired, running, live, versions, problems, deployment } = instance;
  if (deployment && deployment.packageVersion === packageVersion) {
    const judged = judgeActive(id, deployment);
    if (judged) return judged;
  } else if (ended && ended.state !== 'succeeded' && ended.state !== 'superseded') {
    const what = ended.state === 'failed' ? 'failed' : `was ${ended.state.replace('-', ' ')}`;
    return {
      state: 'failed',
      reason: `${id}: ${ended.id} ${what}: ${ended.reason ?? 'no reason was given'}`,
      lasts: false,
    };
  } else if (instance.packageVersion !== null && instance.packageVersion !== packageVersion) {
    const why = problems.length > 0 ? `: ${problems.join('; ')}` : '';
    return {
      state: 'failed',
      reason: `${id} was set to version ${instance.packageVersion} instead of ${packageVersion}${why}`,
      lasts: true,
    };
  }
  const updated = versions[packageVersion] ?? 0;
  const complete = running >= desired && updated >= desired && live === updated;
  if (complete && !deployment) return { state: 'done' };
  // What is under way is judged by the manager; but nobody finds a place that is not there.
  const lasting = problems.filter(problem => !deployment || problem.includes('cannot be placed'));
  if (!complete && lasting.length > 0) {
    return { state: 'failed', reason: `${id}: ${lasting.join('; ')}`, lasts: true };
  }
  return {
    state: 'going',
    progress: `${id}: ${Math.min(updated, running)}/${desired} run ${packageVersion}`,
  };
}

function judgeActive(id: string, deployment: MasterDeployment): Roll | null {
  const { state, reason, canary, progress } = deployment;
  switch (state) {
    case 'paused':
      return {
        state: 'failed',
        reason: `${id}: ${deployment.id} is paused: ${reason ?? ''}; see: holdfast deployments show ${deployment.id}`,
        lasts: false,
      };
    case 'rolling-back':
      return { state: 'going', progress: `${id}: going back: ${reason ?? 'it was asked for'}` };
    case 'canary': {
      const wanted = Math.min(canary?.instances ?? 1, progress?.desired ?? 0);
      if (!progress || progress.available < wanted) return null;
      const after = canary?.promoteAfterMs ?? null;
      const byItself =
        after === null ? '' : `, or wait: it is promoted by itself after ${after / 1000} s in good health`;
      const text = `${id}: ${progress.available} of ${progress.desired} copies run ${deployment.packageVersion} as canaries. Promote them: holdfast deployments promote ${deployment.id}${byItself}`;
      return { state: 'canary', promote: [{ id: deployment.id, text }] };
    }
    default:
      return null;
  }
}

/** The newest deployment of the instance that led to this version and ended since. */
function newestOf(
  deployments: readonly DeploymentInfo[],
  instanceId: string,
  { packageVersion, endedBefore }: RollOptions,
): DeploymentInfo | null {
  const found = deployments.find(
    one =>
      one.instanceId === instanceId &&
      one.to.packageVersion === packageVersion &&
      one.endedAt !== null &&
      !endedBefore.has(one.id),
  );
  return found ?? null;
}
