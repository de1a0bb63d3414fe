/**
 * Where the cluster is that a command means: what its options say, else the nearest `.holdfast/` upward, as git finds its
 * repository. `up` writes `cluster.json` there; the token lies beside it.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  createDeadLetterClient,
  createMasterClient,
  createNodeClient,
  type DeadLetterClient,
  type MasterClient,
  type NodeClient,
} from '#client';
import { DEFAULTS, HoldfastError } from '#core';
import { commandActor } from './actor.ts';

export const STATE_FOLDER = '.holdfast';

/** What `up` notes about the cluster that it runs. */
export interface ClusterFile {
  clusterName: string;
  masterUri: string;
  /** Where all node managers answer; `up` keeps it up to date. Absent in files of earlier releases. */
  managers?: string[];
  routerUri: string;
  nodes: { networkName: string; nodeApiUri: string }[];
  settingsFile: string;
}

/** Options that every command has that talks to a cluster. */
export interface ConnectOptions {
  uri?: string;
  tokenFile?: string;
}

export interface ClusterConnection {
  master: MasterClient;
  routerUri: string | null;
  /** A client of one node's API with the same token. */
  node(uri: string): NodeClient;
  /** Of the publisher of one component host. */
  deadLetters(uri: string): DeadLetterClient;
}

/** @throws HoldfastError HF_USAGE when there is no cluster to be found */
export async function connectToCluster(cwd: string, options: ConnectOptions): Promise<ClusterConnection> {
  const stateRoot = await findStateRoot(cwd);
  const file = stateRoot ? await readClusterFile(stateRoot) : null;
  const token = await readToken(tokenPathOf(stateRoot, options));
  const uri =
    options.uri ??
    (file && (await firstThatAnswers(file, token))) ??
    `http://127.0.0.1:${DEFAULTS.masterPort}`;
  if (!/^https?:\/\/[^/]+/.test(uri)) {
    throw new HoldfastError(
      'HF_USAGE',
      `--uri is "${uri}", expected the URI of a master, like http://127.0.0.1:7777`,
    );
  }
  const actor = commandActor();
  return {
    master: createMasterClient({ uri, token, actor }),
    routerUri: file?.routerUri ?? null,
    node: nodeUri => createNodeClient({ uri: nodeUri, token, actor }),
    deadLetters: hostUri => createDeadLetterClient({ uri: hostUri, token, actor }),
  };
}

/** Any manager will do: it knows who leads. With none that answers, the error names the first. */
async function firstThatAnswers({ masterUri, managers = [] }: ClusterFile, token: string): Promise<string> {
  const known = [...new Set([masterUri, ...managers])];
  if (known.length === 1) return masterUri;
  const answers = await Promise.all(known.map(uri => createMasterClient({ uri, token }).ready()));
  return known[answers.indexOf(true)] ?? masterUri;
}

/** The token file that the options or the nearest state folder name. @throws HoldfastError HF_USAGE if there is none */
export function tokenPathOf(stateRoot: string | null, options: Pick<ConnectOptions, 'tokenFile'>): string {
  if (options.tokenFile) return resolve(options.tokenFile);
  if (stateRoot) return join(stateRoot, 'token');
  throw new HoldfastError(
    'HF_USAGE',
    `there is no ${STATE_FOLDER}/ here or above; run this in the folder of the cluster, or pass --token-file and --uri`,
  );
}

/** The nearest folder named `.holdfast` in `from` or above; `from` itself counts when that is its name. */
export async function findStateRoot(from: string): Promise<string | null> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const candidate = folder.endsWith(`/${STATE_FOLDER}`) ? folder : join(folder, STATE_FOLDER);
    const found = await stat(candidate).catch(() => null);
    if (found?.isDirectory()) return candidate;
    if (folder === dirname(folder)) return null;
  }
}

/** @throws HoldfastError HF_USAGE when it is not there, HF_STATE_UNUSABLE when it holds no token */
export async function readToken(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new HoldfastError(
      'HF_USAGE',
      `cannot read the token file ${path}: ${reason}; name another with --token-file`,
      { cause },
    );
  }
  const token = text.trim();
  if (!/^[A-Za-z0-9._-]{16,512}$/.test(token)) {
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `${path} does not hold a token; expected one line, as holdfast token prints it`,
    );
  }
  return token;
}

export function clusterFilePath(stateRoot: string): string {
  return join(stateRoot, 'cluster.json');
}

async function readClusterFile(stateRoot: string): Promise<ClusterFile | null> {
  try {
    return JSON.parse(await readFile(clusterFilePath(stateRoot), 'utf8')) as ClusterFile;
  } catch {
    return null; // no cluster runs here; the defaults may still be right
  }
}
