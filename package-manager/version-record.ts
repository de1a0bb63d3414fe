/**
 * The description of one installed version that lies beside its archive: what it is and the digest of each of its
 * files. The catalog holds this file's own digest, so that one digest vouches for all. Should the catalog be lost, the
 * records are what it is rebuilt from. The same archive always gives the same text but for `installedAt`.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ownSchema } from '#core';
import {
  digestSchema,
  objectWith,
  packageNameSchema,
  versionProperties,
  type CatalogVersion,
} from './catalog.ts';

export interface VersionRecord extends Omit<CatalogVersion, 'recordSha256'> {
  format: 1;
  name: string;
  files: { path: string; sizeBytes: number; sha256: string }[];
}

const RecordSchema = objectWith({
  format: { const: 1 },
  name: packageNameSchema,
  ...versionProperties,
  files: {
    type: 'array',
    items: objectWith({ path: { type: 'string' }, sizeBytes: { type: 'integer' }, sha256: digestSchema }),
  },
});

const validate = ownSchema(RecordSchema);

export function encodeRecord(record: VersionRecord): { text: string; sha256: string } {
  const text = `${JSON.stringify(record, null, 1)}\n`;
  return { text, sha256: sha256Of(text) };
}

/** The record with its digest, or null when it is missing or not one. */
export async function readRecord(path: string): Promise<{ record: VersionRecord; sha256: string } | null> {
  try {
    const text = await readFile(path, 'utf8');
    const record: unknown = JSON.parse(text);
    return validate(record).length > 0 ? null : { record: record as VersionRecord, sha256: sha256Of(text) };
  } catch {
    return null; // missing, unreadable or not JSON: the caller reports that it cannot be used
  }
}

/** The catalog's entry for a record. */
export function catalogVersion({
  record,
  sha256,
}: {
  record: VersionRecord;
  sha256: string;
}): CatalogVersion {
  return {
    version: record.version,
    sha256: record.sha256,
    sizeBytes: record.sizeBytes,
    installedAt: record.installedAt,
    recordSha256: sha256,
    manifest: record.manifest,
  };
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
