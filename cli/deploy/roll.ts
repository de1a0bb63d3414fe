/** Judges, from the master's status alone, how far a deployment is. Pure. */
import type { MasterStatus } from '#core';

export type Roll =
  { state: 'done' } | { state: 'going'; progress: string } | { state: 'failed'; reason: string };

/** Whether the instances run `packageVersion`, all copies and nothing else. */
export function judgeRoll(
  status: MasterStatus,
  options: { instanceIds: readonly string[]; packageVersion: string },
): Roll {
  const { instanceIds, packageVersion } = options;
  const progress: string[] = [];
  let done = true;
  for (const id of instanceIds) {
    const instance = status.instances.find(one => one.id === id);
    if (!instance) {
      done = false;
      progress.push(`${id}: not known yet`);
      continue;
    }
    if (instance.packageVersion !== null && instance.packageVersion !== packageVersion) {
      const why = instance.problems.length > 0 ? `: ${instance.problems.join('; ')}` : '';
      return {
        state: 'failed',
        reason: `${id} was set to version ${instance.packageVersion} instead of ${packageVersion}${why}`,
      };
    }
    const updated = instance.versions[packageVersion] ?? 0;
    const complete =
      instance.running >= instance.desired && updated >= instance.desired && instance.live === updated;
    if (!complete) {
      if (instance.problems.length > 0)
        return { state: 'failed', reason: `${id}: ${instance.problems.join('; ')}` };
      done = false;
    }
    progress.push(`${id}: ${Math.min(updated, instance.running)}/${instance.desired} run ${packageVersion}`);
  }
  return done ? { state: 'done' } : { state: 'going', progress: progress.join(', ') };
}
