/**
 * A backup that was uploaded, checked as a whole before anything of it is used: a ZIP within limits, exactly the parts that its manifest lists,
 * each with its digest, each of the form that it has to have.
 */
import { createHash } from 'node:crypto';
import { HoldfastError } from '#core';
import { openArchive, type Archive } from '#package-manager';
import {
  DOCUMENTS,
  invalidBackup,
  MANIFEST,
  packagePart,
  PACKAGES,
  readDocuments,
  readKeys,
  readManifest,
  readPackages,
  readSettings,
  SETTINGS,
  type BackupManifest,
  type PackageOfBackup,
} from './format.ts';

/** Documents that say what a cluster is and who leads it. */
const reservedName = /^(?:cluster|leader|restore|settings(?:-history(?:\/.*)?)?)$/;
/** Parts of JSON are held in memory; packages are too, as with an upload. */
const jsonBytesMax = 64 * 1024 * 1024;

export interface OpenedBackup {
  readonly manifest: BackupManifest;
  /** Null: the cluster had none. */
  readonly settings: ReturnType<typeof readSettings> | null;
  readonly packages: readonly PackageOfBackup[];
  readonly documents: Readonly<Record<string, string>>;
  revisions(): Promise<ReturnType<typeof readSettings>[]>;
  packageBytes(one: PackageOfBackup): Promise<Buffer>;
  /** Page by page. */
  keys(): AsyncGenerator<ReturnType<typeof readKeys>>;
  close(): Promise<void>;
}

/** @throws HoldfastError HF_BACKUP_INVALID */
export async function openBackup(path: string): Promise<OpenedBackup> {
  let archive: Archive | null = null;
  try {
    archive = await openArchive(path);
    return await checked(archive);
  } catch (error) {
    await archive?.close();
    throw asInvalidBackup(error);
  }
}

async function checked(archive: Archive): Promise<OpenedBackup> {
  const sizes = new Map(archive.entries.map(({ name, sizeBytes }) => [name, sizeBytes]));
  const readJson = async (name: string) => {
    if ((sizes.get(name) ?? 0) > jsonBytesMax)
      throw invalidBackup(`${name} is larger than ${jsonBytesMax} bytes`);
    return archive.read(name);
  };
  const manifest = readManifest(await readJson(MANIFEST));
  await checkParts(archive, manifest);
  const listed = (prefix: string) =>
    manifest.parts.map(({ name }) => name).filter(name => name.startsWith(prefix));
  const packages = readPackages(await readJson(PACKAGES));
  checkPackages(manifest, packages);
  const documents = readDocuments(await readJson(DOCUMENTS));
  checkDocuments(documents);
  const opened: OpenedBackup = {
    manifest,
    packages,
    documents,
    settings: sizes.has(SETTINGS) ? readSettings(await readJson(SETTINGS)) : null,
    async revisions() {
      const found = [];
      for (const name of listed('revisions/')) found.push(readSettings(await readJson(name)));
      return found.toSorted((a, b) => a.revision - b.revision);
    },
    packageBytes: one => archive.read(packagePart(one)),
    async *keys() {
      for (const name of listed('keys/')) yield readKeys(name, await readJson(name));
    },
    close: () => archive.close(),
  };
  // Read once for nothing, so that what is no record is found before anything is done.
  await opened.revisions();
  for await (const page of opened.keys()) void page;
  return opened;
}

/** Neither a part too many nor one too few, and each as it was written. */
async function checkParts(archive: Archive, manifest: BackupManifest): Promise<void> {
  const listed = new Map(manifest.parts.map(part => [part.name, part]));
  const found = archive.entries.map(({ name }) => name).filter(name => name !== MANIFEST);
  const strange = found.filter(name => !listed.has(name));
  if (strange.length > 0) throw invalidBackup(`its manifest does not list ${JSON.stringify(strange[0])}`);
  if (listed.size !== found.length || manifest.parts.length !== listed.size)
    throw invalidBackup('its manifest lists parts that are not there, or twice');
  for (const { name, sha256 } of manifest.parts) {
    const hash = createHash('sha256');
    await archive.stream(name, chunk => void hash.update(chunk));
    if (hash.digest('hex') !== sha256)
      throw invalidBackup(`${name} has another digest than its manifest says`);
  }
}

function checkPackages(manifest: BackupManifest, packages: readonly PackageOfBackup[]): void {
  const digests = new Map(manifest.parts.map(({ name, sha256 }) => [name, sha256]));
  const wrong = packages.find(one => digests.get(packagePart(one)) !== one.sha256);
  if (wrong) throw invalidBackup(`${packagePart(wrong)} is not there, or not what ${PACKAGES} says`);
}

/** What is no note of a leader belongs to the cluster that restores it, not to the one that is restored. */
function checkDocuments(documents: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(documents)) {
    if (!/^[\w./@-]{1,200}$/.test(name) || reservedName.test(name))
      throw invalidBackup(
        `${DOCUMENTS} has ${JSON.stringify(name.slice(0, 100))}, which is no note that is restored`,
      );
    try {
      JSON.parse(content);
    } catch (cause) {
      throw invalidBackup(`the note ${name} is no JSON`, cause);
    }
  }
}

function asInvalidBackup(error: unknown): unknown {
  if (!(error instanceof HoldfastError)) return error;
  const { code, message } = error;
  if (code !== 'HF_PACKAGE_INVALID' && code !== 'HF_PACKAGE_TOO_LARGE') return error;
  return invalidBackup(message.replace('package ZIP', 'its ZIP'), error);
}
