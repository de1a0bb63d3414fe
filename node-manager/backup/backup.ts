/**
 * Makes a backup as a stream: one part in memory at a time, whatever the cluster holds. It is no picture of one moment: what changes while it is made
 * is in it as it was or as it is. That harms nothing, because every fence jumps when it is restored, and keys that were opened later are known
 * by their state.
 */
import { createHash } from 'node:crypto';
import {
  isoTime,
  jobMarkerName,
  SETTINGS_DOCUMENT,
  type Coordination,
  type KeyRecord,
  type StoredSettings,
  type System,
} from '#core';
import type { PackageCatalog } from '../cluster/package-catalog.ts';
import type { SettingsHistory } from '../settings/history.ts';
import {
  DOCUMENTS,
  FORMAT,
  FORMAT_VERSION,
  KEYS_PER_PART,
  keysPart,
  MANIFEST,
  packagePart,
  PACKAGES,
  revisionPart,
  SETTINGS,
  writeKeys,
  type BackupCounts,
  type BackupManifest,
} from './format.ts';
import { writeZip, type ZipPart } from './zip-writer.ts';

/** The notes of jobs begin with this; what follows is the instance. */
const JOB_NOTES = 'jobs/';

export interface BackupSources {
  system: System;
  coordination: Pick<Coordination, 'directory' | 'documents'>;
  catalog: Pick<PackageCatalog, 'entries' | 'bytes'>;
  history: Pick<SettingsHistory, 'list' | 'revision'>;
  /** Names of the leader's notes. */
  notes: () => readonly string[];
  clusterName: () => string;
  holdfastVersion: string;
}

/** The bytes of the ZIP. Throws in the middle what a source throws: then what came before is no backup. */
export function makeBackup(sources: BackupSources): AsyncGenerator<Buffer> {
  return writeZip(withManifest(sources));
}

async function* withManifest(sources: BackupSources): AsyncGenerator<ZipPart> {
  const counts: BackupCounts = { revisions: 0, packages: 0, keys: 0, documents: 0 };
  const listed: BackupManifest['parts'] = [];
  const createdAt = isoTime(sources.system.clock);
  for await (const part of partsOf(sources, counts)) {
    const sha256 = createHash('sha256').update(part.content).digest('hex');
    listed.push({ name: part.name, sizeBytes: part.content.length, sha256 });
    yield part;
  }
  const { clusterName, holdfastVersion } = sources;
  const manifest: BackupManifest = {
    format: FORMAT,
    formatVersion: FORMAT_VERSION,
    holdfastVersion,
    clusterName: clusterName(),
    createdAt,
    counts,
    parts: listed,
  };
  yield json(MANIFEST, manifest);
}

async function* partsOf(sources: BackupSources, counts: BackupCounts): AsyncGenerator<ZipPart> {
  const { documents } = sources.coordination;
  const stored = await documents.get(SETTINGS_DOCUMENT);
  if (stored) yield json(SETTINGS, { revision: 1, ...(JSON.parse(stored.content) as StoredSettings) });
  for (const { revision } of await sources.history.list()) {
    yield json(revisionPart(revision), await sources.history.revision(revision));
    counts.revisions++;
  }
  yield json(DOCUMENTS, await notesOf(sources, counts));
  yield* packagesOf(sources, counts);
  yield* keysOf(sources, counts);
}

async function notesOf(sources: BackupSources, counts: BackupCounts): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  // With each job's note goes what its hosts write, which says what was begun: else the last run might be begun again.
  const names = sources
    .notes()
    .flatMap(name =>
      name.startsWith(JOB_NOTES) ? [name, jobMarkerName(name.slice(JOB_NOTES.length))] : [name],
    );
  for (const name of names) {
    const document = await sources.coordination.documents.get(name);
    if (!document) continue;
    found[name] = document.content;
    counts.documents++;
  }
  return found;
}

async function* packagesOf({ catalog }: BackupSources, counts: BackupCounts): AsyncGenerator<ZipPart> {
  const usable = catalog
    .entries()
    .filter(({ problem }) => problem === null)
    .map(({ packageName, packageVersion, sha256 }) => ({ packageName, packageVersion, sha256 }));
  for (const one of usable) {
    const content = await catalog.bytes(one.packageName, one.packageVersion);
    yield { name: packagePart(one), content, stored: true };
    counts.packages++;
  }
  yield json(PACKAGES, usable);
}

async function* keysOf({ coordination }: BackupSources, counts: BackupCounts): AsyncGenerator<ZipPart> {
  let cursor: string | null = null;
  let waiting: KeyRecord[] = [];
  let pages = 0;
  do {
    const page: { records: KeyRecord[]; cursor: string | null } = await coordination.directory.exportKeys(
      cursor,
      KEYS_PER_PART,
    );
    ({ cursor } = page);
    waiting.push(...page.records);
    while (waiting.length >= KEYS_PER_PART || (cursor === null && waiting.length > 0)) {
      const records = waiting.slice(0, KEYS_PER_PART);
      waiting = waiting.slice(KEYS_PER_PART);
      yield { name: keysPart(++pages), content: writeKeys(records) };
      counts.keys += records.length;
    }
  } while (cursor !== null);
}

function json(name: string, value: unknown): ZipPart {
  return { name, content: Buffer.from(JSON.stringify(value)) };
}
