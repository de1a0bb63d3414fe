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
import type { DeploymentsState, Target, Track } from './model.ts';

export interface RollbackDecision {
  /** Null: instances do not agree on one. */
  from: string | null;
  to: string;
  /** Ids of the instances that go back. */
  instances: string[];
  /** It is under way already: the settings need no edit. */
  underWay: boolean;
}

/** @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_ROLLBACK_IMPOSSIBLE */
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
  if (!catalog.some(entry => entry.packageName === packageName)) {
    throw new HoldfastError('HF_PACKAGE_NOT_FOUND', `no package ${packageName}`);
  }
  if (users.length === 0) throw impossible(packageName, 'no instance uses it');
  const known = versionsOf(catalog, packageName).map(entry => entry.packageVersion);
  const currents = new Set(users.map(currentOf));
  const current = currents.size === 1 ? currentOf(users[0]!) : null;
  const instances = users.map(({ settings }) => settings.id);

  const begun = users.flatMap(user => underWay(trackOf(user), currentOf(user), isHost) ?? []);
  if (begun[0]) return { ...begun[0], instances, underWay: true };

  const before = users
    .flatMap(user => previous(trackOf(user), currentOf(user), isHost) ?? [])
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

/** @param current the version that the settings want */
function underWay(
  track: Track | null,
  current: string,
  isHost: boolean,
): { from: string | null; to: string } | null {
  const good = versionOf(track?.good, isHost);
  if (!track || good === null) return null;
  const given = track.active?.record.state === 'rolling-back' ? versionOf(track.active.target, isHost) : null;
  if (given !== null && given !== good) return { from: given, to: good };
  const path = pathOf(track, isHost);
  const goesBack = path.includes(current) && path.indexOf(current) < path.indexOf(good);
  return goesBack ? { from: good, to: current } : null;
}

function previous(track: Track | null, current: string, isHost: boolean): string | null {
  const good = versionOf(track?.good, isHost);
  if (!track || good === null) return null;
  if (good !== current) return good;
  const path = pathOf(track, isHost);
  return path[path.indexOf(current) - 1] ?? null;
}

function pathOf(track: Track, isHost: boolean): string[] {
  return isHost ? track.hostVersions : track.versions;
}

function versionOf(target: Target | null | undefined, isHost: boolean): string | null {
  if (!target) return null;
  return isHost ? target.revision.hostVersion : target.revision.packageVersion;
}

function newest(versions: readonly string[]): string | undefined {
  return [...versions].sort(semver.compareBuild).at(-1);
}

function impossible(packageName: string, why: string): HoldfastError {
  return new HoldfastError('HF_ROLLBACK_IMPOSSIBLE', `${packageName} cannot go back: ${why}`, {
    details: { packageName },
  });
}
