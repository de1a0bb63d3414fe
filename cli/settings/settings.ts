/** `holdfast settings …`: the settings of the cluster, their history, and the way back. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  diffSettings,
  HoldfastError,
  parseSettings,
  type SettingsChange,
  type SettingsRevision,
} from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, size, table } from '../output.ts';
import type { Environment } from '../environment.ts';

type Options = ConnectOptions & { json?: boolean };

export async function getSettings(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const { text, etag } = await master.settings();
  stdout.write(options.json ? jsonLine({ etag, text }) : text);
}

export async function putSettings(
  file: string,
  options: Options & { ifMatch?: string },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const text = await readText(cwd, file);
  const present = await master.settings();
  const { etag } = await master.putSettings(text, { ifMatch: options.ifMatch ?? present.etag });
  const changes = diffSettings(present.text, text);
  const told = present.text === text ? 'nothing changed: the cluster has these settings' : describe(changes);
  stdout.write(options.json ? jsonLine({ etag, changes }) : `${told}\n`);
}

export async function listHistory(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const revisions = await master.settingsHistory();
  const rows = revisions.map(one => [
    String(one.revision),
    one.updatedAt,
    size(one.sizeBytes),
    one.updatedBy,
    one.etag,
  ]);
  const text = table([['REVISION', 'WHEN', 'SIZE', 'WHO', 'ETAG'], ...rows]);
  stdout.write(options.json ? jsonLine(revisions) : `${text}\n`);
}

export async function showRevision(
  revision: number,
  options: Options,
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const { text, etag } = await master.settingsRevision(revision);
  stdout.write(options.json ? jsonLine({ revision, etag, text }) : text);
}

export async function showDiff(
  file: string | undefined,
  options: Options & { from?: number; to?: number },
  { cwd, stdout }: Environment,
): Promise<void> {
  if (file !== undefined && (options.from !== undefined || options.to !== undefined)) {
    throw new HoldfastError(
      'HF_USAGE',
      'compare a file with the cluster, or two revisions: not both at once',
    );
  }
  const { master } = await connectToCluster(cwd, options);
  if (file !== undefined) {
    const text = await readText(cwd, file);
    parseSettings(text); // a file that is none cannot be compared
    const changes = diffSettings((await master.settings()).text, text);
    return void stdout.write(options.json ? jsonLine({ changes }) : `${describe(changes)}\n`);
  }
  const { from, to } = options;
  const found = await master.settingsDiff({
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  });
  const heading = `from revision ${heads(found.from)}\nto revision ${heads(found.to)}`;
  stdout.write(options.json ? jsonLine(found) : `${heading}\n${describe(found.changes)}\n`);
}

export async function undoSettings(
  options: Options & { to?: number },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const present = await master.settings();
  const now = await master.undoSettings({
    ifMatch: present.etag,
    ...(options.to === undefined ? {} : { to: options.to }),
  });
  const changes = diffSettings(present.text, (await master.settings()).text);
  const text = `the settings are revision ${now.revision} now\n${describe(changes)}`;
  stdout.write(options.json ? jsonLine({ ...now, changes }) : `${text}\n`);
}

function heads({ revision, updatedAt, updatedBy }: SettingsRevision): string {
  return `${revision} (${updatedAt}, ${updatedBy})`;
}

/** One line for each change. Pure. */
function describe(changes: readonly SettingsChange[]): string {
  if (changes.length === 0) return 'no value differs (comments, layout and order may)';
  return changes
    .map(change => {
      const [before, after] = [change.before, change.after].map(value => JSON.stringify(value));
      if (!('before' in change)) return `+ ${change.path}: ${after}`;
      if (!('after' in change)) return `- ${change.path}: ${before}`;
      return `~ ${change.path}: ${before} → ${after}`;
    })
    .join('\n');
}

async function readText(cwd: string, file: string): Promise<string> {
  const path = resolve(cwd, file);
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new HoldfastError('HF_USAGE', `cannot read the settings file ${path}: ${reason}`, { cause });
  }
}
