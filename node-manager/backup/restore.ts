/**
 * Brings a backup into an empty cluster: packages, key records, notes, the history, and the settings last, so that nothing runs before all of it is
 * there. A note says which backup is being restored; after a crash the same one may be sent again, and goes on: each step finds what it did before.
 * Another one is refused.
 */
import type { RestoreOutcome } from '#client';
import {
  HoldfastError,
  isoTime,
  parseSettings,
  type ApiEvent,
  type Coordination,
  type KeyRecord,
  type System,
} from '#core';
import type { Observer } from '../cluster/observer.ts';
import { changeDocument } from '../cluster/notes.ts';
import type { PackageCatalog } from '../cluster/package-catalog.ts';
import type { Distribution } from '../deployments/distribution.ts';
import type { Locks } from '../leadership/locks.ts';
import type { SettingsHistory } from '../settings/history.ts';
import type { CurrentSettings, SettingsKeeper } from '../settings/settings-keeper.ts';
import { invalidBackup } from './format.ts';
import { conflicts, isHere, obstaclesTo } from './obstacles.ts';
import type { OpenedBackup } from './opened-backup.ts';
import { restoredSettings } from './restored-settings.ts';

export const RESTORE_DOCUMENT = 'restore';

/** Which backup this cluster was made of. */
export interface RestoreNote {
  sha256: string;
  state: 'running' | 'done';
  at: string;
  by: string;
}

export interface RestoreOptions {
  /** Of the whole file. */
  sha256: string;
  /** The nodes of the backup, instead of those here. */
  withNodes: boolean;
  /** Who asked, for the record. */
  by: string;
}

export interface RestoreDeps {
  system: System;
  coordination: Pick<Coordination, 'directory' | 'documents'>;
  observer: Pick<Observer, 'nodes' | 'refresh'>;
  catalog: PackageCatalog;
  distribution: Pick<Distribution, 'upload'>;
  settings: Pick<SettingsKeeper, 'current' | 'put' | 'reconcile'>;
  history: Pick<SettingsHistory, 'replace'>;
  locks: Locks;
  assertLeading: () => void;
  onEvent: (event: ApiEvent) => void;
}

/**
 * @throws HoldfastError HF_CLUSTER_NOT_EMPTY, with what is in the way; HF_SETTINGS_INVALID when the settings of the backup cannot hold here;
 * HF_BACKUP_INVALID; HF_NOT_LEADER; what uploading a package throws
 */
export function restoreBackup(
  deps: RestoreDeps,
  backup: OpenedBackup,
  options: RestoreOptions,
): Promise<RestoreOutcome> {
  return deps.locks.hold('restore', signal => restore(deps, backup, options, signal));
}

async function restore(
  deps: RestoreDeps,
  backup: OpenedBackup,
  options: RestoreOptions,
  lost: AbortSignal,
): Promise<RestoreOutcome> {
  const { coordination, settings, catalog } = deps;
  const goOn = (step: string) => {
    lost.throwIfAborted();
    deps.assertLeading();
    deps.onEvent({ type: 'restore', at: isoTime(deps.system.clock), step });
  };
  await settings.reconcile();
  const present = requireSettings(settings.current());
  if (!backup.settings) throw invalidBackup('it is of a cluster that had no settings');
  const text = restoredSettings(backup.settings.text, present.text, options);
  const outcome = (now: CurrentSettings): RestoreOutcome => ({
    clusterName: backup.manifest.clusterName,
    createdAt: backup.manifest.createdAt,
    counts: backup.manifest.counts,
    kept: conflicts(backup.packages, catalog.entries()).map(
      one => `${one.packageName} ${one.packageVersion}`,
    ),
    revision: now.revision,
    etag: now.etag,
  });

  await deps.observer.refresh({ packages: true });
  await catalog.refresh(present.settings, deps.observer.nodes());
  const begun = await noteOf(deps);
  const again = begun?.sha256 === options.sha256 && begun.state === 'running';
  if (again && present.text === text) {
    await markAs(deps, 'done', options); // all that was left to do
    return outcome(present);
  }
  await refuseUnlessEmpty(deps, backup, present, { begun, again });
  parseSettings(text, new Set([...catalog.entries(), ...backup.packages].map(one => one.packageName)));
  goOn('begin');
  await markAs(deps, 'running', options);

  for (const one of backup.packages) {
    if (isHere(one, catalog.entries()) || conflicts([one], catalog.entries()).length > 0) continue;
    goOn(`package ${one.packageName} ${one.packageVersion}`);
    await deps.distribution.upload(await backup.packageBytes(one), false, options.by);
  }
  for await (const records of backup.keys()) {
    goOn(`keys from ${records[0]?.key ?? 'none'}`);
    await importKeys(coordination, records);
  }
  goOn('notes');
  for (const [name, content] of Object.entries(backup.documents)) {
    await changeDocument(coordination.documents, name, () => JSON.parse(content) as unknown);
  }
  await deps.history.replace(await backup.revisions());
  goOn('settings');
  const now = await settings.put(text, null, options.by);
  await markAs(deps, 'done', options);
  deps.onEvent({ type: 'restore', at: isoTime(deps.system.clock), step: 'done' });
  return outcome(now);
}

async function refuseUnlessEmpty(
  deps: RestoreDeps,
  backup: OpenedBackup,
  present: CurrentSettings,
  { begun, again }: { begun: RestoreNote | null; again: boolean },
): Promise<void> {
  const { records } = await deps.coordination.directory.exportKeys(null, 1);
  const obstacles = obstaclesTo(backup.packages, {
    settings: present.settings,
    nodes: deps.observer.nodes(),
    catalog: deps.catalog.entries(),
    // Those of a restore that goes on are its own: nothing has run since that could have made others.
    key: again ? null : (records[0] ?? null),
  });
  if (begun?.state === 'done') obstacles.unshift(`this cluster was restored from a backup at ${begun.at}`);
  if (begun?.state === 'running' && !again)
    obstacles.unshift(`a restore of another backup was begun here at ${begun.at}: send that one again`);
  if (obstacles.length === 0) return;
  throw new HoldfastError(
    'HF_CLUSTER_NOT_EMPTY',
    `a backup is restored into an empty cluster only (a new store, settings with nodes but without instances); in the way: ${obstacles.slice(0, 10).join('; ')}`,
    { details: { obstacles } },
  );
}

async function importKeys(
  { directory }: RestoreDeps['coordination'],
  records: readonly KeyRecord[],
): Promise<void> {
  if (records.length === 0) return;
  const refused = await directory.importKeys([...records]);
  if (refused.length === 0) return;
  throw new HoldfastError(
    'HF_CLUSTER_NOT_EMPTY',
    `${refused.length} keys have live owners here, the first is ${refused[0]!.key} of ${refused[0]!.pool}; stop what owns them, and send the backup again`,
    { details: { obstacles: refused.map(({ key, pool }) => `${key} of ${pool}`) } },
  );
}

async function noteOf({ coordination }: RestoreDeps): Promise<RestoreNote | null> {
  const document = await coordination.documents.get(RESTORE_DOCUMENT);
  return document && (JSON.parse(document.content) as RestoreNote);
}

async function markAs(
  deps: RestoreDeps,
  state: RestoreNote['state'],
  { sha256, by }: RestoreOptions,
): Promise<void> {
  const note: RestoreNote = { sha256, state, at: isoTime(deps.system.clock), by };
  await changeDocument<RestoreNote>(deps.coordination.documents, RESTORE_DOCUMENT, () => note);
}

function requireSettings(current: CurrentSettings | null): CurrentSettings {
  if (current) return current;
  throw new HoldfastError(
    'HF_UNAVAILABLE',
    'the cluster has no valid settings yet, and so no nodes to restore to',
  );
}
