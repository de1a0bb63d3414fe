/**
 * Which version a package goes back to when an operator asks for it: the one before, on the path of versions that were good. Going back
 * along it twice goes back two versions, and asking twice while the first is under way does it once. Where nothing is
 * remembered, it is the next lower version that the cluster has. Pure.
 */
import semver from 'semver';
import { HoldfastError } from '#core';
import { versionsOf } from '../planning/catalog.ts';
import type { DesiredInstance } from '../planning/desired.ts';
import type { Catalog } from '../planning/model.ts';
import type { DeploymentsState, Track } from './model.ts';

export interface RollbackDecision {
  /** Null: instances do not agree on one. */
  from: string | null;
  to: string;
  /** Ids of the instances that go back. */
  instances: string[];
  /** It is under way already: the settings need no edit. */
  underWay: boolean;
}

/** @throws HoldfastError HF_ROLLBACK_IMPOSSIBLE */
export function decideRollback(
  state: DeploymentsState,
  facts: {
    packageName: string;
    hostPackageName: string;
    desired: readonly DesiredInstance[];
    catalog: Catalog;
  },
): RollbackDecision {
  const { packageName, hostPackageName, catalog } = facts;
  const isHost = packageName === hostPackageName;
  const users = facts.desired.filter(
    ({ settings, revision }) => revision !== null && (isHost || settings.packageName === packageName),
  );
  if (users.length === 0) throw impossible(packageName, 'no instance uses it');
  const known = versionsOf(catalog, packageName).map(entry => entry.packageVersion);
  const currents = new Set(users.map(currentOf));
  const current = currents.size === 1 ? currentOf(users[0]!) : null;
  const instances = users.map(({ settings }) => settings.id);

  const begun = users.flatMap(user => rollbackUnderWay(trackOf(user), isHost) ?? []);
  if (begun[0]) return { ...begun[0], instances, underWay: true };

  const before = users
    .flatMap(user => previous(trackOf(user), currentOf(user), isHost, state) ?? [])
    .filter(version => known.includes(version));
  const to =
    newest(before) ??
    newest(known.filter(version => current !== null && semver.compareBuild(version, current) < 0));
  if (to === null || to === undefined) {
    throw impossible(packageName, `no version before ${current ?? 'those that run'} is known`);
  }
  return { from: current, to, instances, underWay: false };

  function trackOf({ settings }: DesiredInstance): Track | null {
    return state.instances[settings.id] ?? null;
  }
  function currentOf({ revision }: DesiredInstance): string {
    return (isHost ? revision!.hostVersion : revision!.packageVersion) ?? '';
  }
}

function rollbackUnderWay(track: Track | null, isHost: boolean): { from: string | null; to: string } | null {
  const { active, good } = track ?? {};
  if (!active || !good) return null;
  const [was, becomes] = isHost
    ? [good.revision.hostVersion, active.target.revision.hostVersion]
    : [good.revision.packageVersion, active.target.revision.packageVersion];
  if (was === null || becomes === null || was === becomes) return null;
  if (active.record.state === 'rolling-back') return { from: becomes, to: was };
  const { versions } = track!;
  const goesBack = !isHost && versions.includes(becomes) && versions.indexOf(becomes) < versions.indexOf(was);
  return goesBack ? { from: was, to: becomes } : null;
}

function previous(
  track: Track | null,
  current: string,
  isHost: boolean,
  state: DeploymentsState,
): string | null {
  if (!track) return null;
  const good = isHost ? track.good?.revision.hostVersion : track.good?.revision.packageVersion;
  if (good && good !== current) return good;
  if (isHost) {
    const last = state.ended.find(
      record =>
        record.state === 'succeeded' &&
        record.to.hostVersion === current &&
        record.from?.hostVersion !== current,
    );
    return last?.from?.hostVersion ?? null;
  }
  return track.versions[track.versions.indexOf(current) - 1] ?? null;
}

function newest(versions: readonly string[]): string | undefined {
  return [...versions].sort(semver.compareBuild).at(-1);
}

function impossible(packageName: string, why: string): HoldfastError {
  return new HoldfastError('HF_ROLLBACK_IMPOSSIBLE', `${packageName} cannot go back: ${why}`, {
    details: { packageName },
  });
}
