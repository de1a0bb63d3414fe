/** The settings with their types, and what a JSON Schema cannot check. Passwords come from the environment, which the operator fills from secrets. */
import { resolve } from 'node:path';
import type { Settings } from '#core';
import type { ConflictPolicy } from './conflicts.ts';
import type { PostgresEndpoint } from './postgres-connection.ts';
import { refused } from './problem.ts';
import type { TablePair } from './schema/schema-check.ts';

export interface SqliteEndpoint {
  readonly kind: 'sqlite';
  /** Absolute. */
  readonly file: string;
}

export type Endpoint = PostgresEndpoint | SqliteEndpoint;

export interface ReplicationSettings {
  readonly name: string;
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly tables: readonly TablePair[];
  readonly conflicts: ConflictPolicy;
  readonly existingRows: 'refuse' | 'delete';
  readonly generation: number;
  readonly retired: boolean;
  readonly batchRows: number;
  readonly pollMs: number;
  readonly leaseTtlMs: number;
}

/** @throws ReplicationProblem HF_REPLICATION_REFUSED */
export function readSettings(
  settings: Settings,
  dataDirectory: string,
  environment: NodeJS.ProcessEnv,
): ReplicationSettings {
  const source = readEndpoint('source', settings.source, dataDirectory, environment);
  const target = readEndpoint('target', settings.target, dataDirectory, environment);
  const tables = (settings.tables as (string | { source: string; target: string })[]).map(entry =>
    typeof entry === 'string' ? { source: entry, target: bareName(entry, source, target) } : entry,
  );
  for (const side of ['source', 'target'] as const) {
    const names = tables.map(pair => pair[side]);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined)
      throw refused(`settings.tables: the ${side} ${twice} is named twice; name it once`);
    const dotted =
      (side === 'source' ? source : target).kind === 'sqlite' && names.find(name => name.includes('.'));
    if (dotted)
      throw refused(`settings.tables: ${dotted} has a dot, but the ${side} is SQLite, which has no schemas`);
  }
  if (source.kind === 'sqlite' && target.kind === 'sqlite' && source.file === target.file) {
    throw refused(`settings: source and target are the same file, ${source.file}; they must be two`);
  }
  return {
    name: settings.name as string,
    source,
    target,
    tables,
    conflicts: settings.conflicts as ConflictPolicy,
    existingRows: settings.existingRows as 'refuse' | 'delete',
    generation: Number(settings.generation),
    retired: settings.retired === true,
    batchRows: Number(settings.batchRows),
    pollMs: Number(settings.pollMs),
    leaseTtlMs: Number(settings.leaseTtlMs),
  };
}

/** `public.orders` is called `orders` in SQLite; between two PostgreSQL databases names stay. */
function bareName(table: string, source: Endpoint, target: Endpoint): string {
  return source.kind === 'postgres' && target.kind === 'sqlite' ? (table.split('.').at(-1) ?? table) : table;
}

function readEndpoint(
  side: 'source' | 'target',
  value: unknown,
  dataDirectory: string,
  environment: NodeJS.ProcessEnv,
): Endpoint {
  const given = value as { kind: string; url?: string; passwordEnv?: string; file?: string };
  if (given.kind === 'sqlite') return { kind: 'sqlite', file: resolve(dataDirectory, given.file ?? '') };
  const place = `settings.${side}`;
  let url: URL;
  try {
    url = new URL(given.url ?? '');
  } catch {
    throw refused(`${place}.url is no URL, expected for example postgres://app@db.internal:5432/shop`);
  }
  if (url.password !== '' || url.searchParams.has('password')) {
    throw refused(
      `${place}.url holds a password, which everybody who sees the settings could read: put it into secrets/, name that in \`env\` of the instance as {"secretRef": "…"}, and name the variable in ${place}.passwordEnv`,
    );
  }
  const { passwordEnv } = given;
  const password = passwordEnv === undefined ? undefined : environment[passwordEnv];
  if (passwordEnv !== undefined && password === undefined) {
    throw refused(
      `${place}.passwordEnv names ${passwordEnv}, which is not in the environment: add it to \`env\` of the instance, as {"secretRef": "…"}`,
    );
  }
  return { kind: 'postgres', url: url.href, password };
}
