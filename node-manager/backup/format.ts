/**
 * What is in a backup: a ZIP whose last entry is its manifest, with the digest of every other. JSON throughout, but for the packages' own ZIPs.
 *
 *   settings.json          the settings as they lie in the store (`StoredSettings`)
 *   revisions/<n>.json     each kept revision of the settings
 *   packages.json          which packages there are; packages/<name>@<version>.zip their bytes
 *   keys/<n>.jsonl         the directory's records of keys, one on each line, at most 1,000
 *   documents.json         notes of the leader by name, each as the text that lies in the store
 *   manifest.json          format, cluster, time, counts, digests
 *
 * Readers refuse any other version; a change that they cannot pass over raises it.
 */
import {
  describeProblem,
  HoldfastError,
  LIMITS,
  ownSchema,
  type KeyRecord,
  type StoredSettings,
} from '#core';
import type { CatalogEntry } from '../planning/model.ts';

export const FORMAT = 'holdfast-backup';
export const FORMAT_VERSION = 1;
export const MANIFEST = 'manifest.json';
export const SETTINGS = 'settings.json';
export const PACKAGES = 'packages.json';
export const DOCUMENTS = 'documents.json';

export const revisionPart = (revision: number) => `revisions/${revision}.json`;
export const packagePart = ({ packageName, packageVersion }: PackageOfBackup) =>
  `packages/${packageName}@${packageVersion}.zip`;
export const keysPart = (page: number) => `keys/${String(page).padStart(7, '0')}.jsonl`;
/** No directory gives out higher ones, and none takes over what would leave it no room. */
const FENCE_MAX = 2n ** 62n - 2n ** 50n;
/** As many as the directory takes in one step. */
export const KEYS_PER_PART = 1_000;

/** One line of a part with keys. */
export type KeyLine = Omit<KeyRecord, 'fence'> & { fence: string };

export interface BackupCounts {
  revisions: number;
  packages: number;
  keys: number;
  documents: number;
}

export interface BackupManifest {
  format: typeof FORMAT;
  formatVersion: number;
  holdfastVersion: string;
  clusterName: string;
  /** ISO 8601. */
  createdAt: string;
  counts: BackupCounts;
  parts: { name: string; sizeBytes: number; sha256: string }[];
}

export type PackageOfBackup = Pick<CatalogEntry, 'packageName' | 'packageVersion' | 'sha256'>;

const text = { type: 'string', minLength: 1 };
const count = { type: 'integer', minimum: 0 };
const object = (properties: object, optional: string[] = []) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter(name => !optional.includes(name)),
});

const readers = {
  [MANIFEST]: ownSchema(
    object({
      format: { const: FORMAT },
      formatVersion: count,
      holdfastVersion: text,
      clusterName: text,
      createdAt: text,
      counts: object({ revisions: count, packages: count, keys: count, documents: count }),
      parts: {
        type: 'array',
        items: object({
          name: text,
          sizeBytes: count,
          sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
        }),
      },
    }),
  ),
  [SETTINGS]: ownSchema(
    object({ text, updatedAt: { type: 'string' }, updatedBy: { type: 'string' }, revision: count }),
  ),
  [PACKAGES]: ownSchema({
    type: 'array',
    items: object({ packageName: text, packageVersion: text, sha256: text }),
  }),
  [DOCUMENTS]: ownSchema({ type: 'object', additionalProperties: { type: 'string' } }),
};

const checkKey = ownSchema(
  object({
    pool: text,
    key: { ...text, maxLength: LIMITS.keyBytesMax },
    fence: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,18})$' },
    opened: { type: 'boolean' },
    paused: { type: 'boolean' },
    alarmAtMs: { type: ['number', 'null'], minimum: 0, maximum: 8.64e15 },
  }),
);

/** @throws HoldfastError HF_BACKUP_INVALID */
export function readManifest(content: Buffer): BackupManifest {
  const manifest = readPart(MANIFEST, content) as BackupManifest;
  if (manifest.formatVersion === FORMAT_VERSION) return manifest;
  throw invalidBackup(
    `it has the format version ${manifest.formatVersion}, made by Holdfast ${manifest.holdfastVersion}; this one reads ${FORMAT_VERSION}`,
  );
}

/** @throws HoldfastError HF_BACKUP_INVALID */
export function readPackages(content: Buffer): PackageOfBackup[] {
  return readPart(PACKAGES, content) as PackageOfBackup[];
}

/** @throws HoldfastError HF_BACKUP_INVALID */
export function readDocuments(content: Buffer): Record<string, string> {
  return readPart(DOCUMENTS, content) as Record<string, string>;
}

/** Of the settings and of a revision. @throws HoldfastError HF_BACKUP_INVALID */
export function readSettings(content: Buffer): StoredSettings & { revision: number } {
  return readPart(SETTINGS, content) as StoredSettings & { revision: number };
}

/** @throws HoldfastError HF_BACKUP_INVALID */
export function readKeys(part: string, content: Buffer): KeyRecord[] {
  const lines = content.toString().split('\n').slice(0, -1);
  if (lines.length > KEYS_PER_PART) throw invalidBackup(`${part} has more than ${KEYS_PER_PART} keys`);
  return lines.map((line, index) => {
    const told = parseLine(line);
    const fence = told && (BigInt(told.fence) as KeyRecord['fence']);
    if (fence === null || fence > FENCE_MAX)
      throw invalidBackup(`line ${index + 1} of ${part} is no record of a key`);
    const { pool, key, opened, paused, alarmAtMs } = told!;
    return { pool, key, fence, opened, paused, alarmAtMs };
  });
}

function parseLine(line: string): KeyLine | null {
  try {
    const told: unknown = JSON.parse(line);
    return checkKey(told).length === 0 ? (told as KeyLine) : null;
  } catch {
    return null; // told as what it is: no record
  }
}

export function writeKeys(records: readonly KeyRecord[]): Buffer {
  const lines = records.map(({ fence, ...record }): KeyLine => ({ ...record, fence: fence.toString() }));
  return Buffer.from(lines.map(line => `${JSON.stringify(line)}\n`).join(''));
}

export function invalidBackup(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_BACKUP_INVALID', `the backup cannot be used: ${what}`, { cause });
}

function readPart(name: keyof typeof readers, content: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(content.toString());
  } catch (cause) {
    throw invalidBackup(`${name} is no JSON`, cause);
  }
  const problems = readers[name](value);
  if (problems.length === 0) return value;
  throw invalidBackup(`${name}: ${problems.slice(0, 3).map(describeProblem).join('; ')}`);
}
