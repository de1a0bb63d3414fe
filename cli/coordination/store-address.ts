/**
 * The coordination store that settings name, as an address with its secrets filled in, and whether it is fit to be started on.
 * Secrets are read on the machine where the cluster is started, from `secrets/` beside the token; nodes get the whole address.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  describeProblem,
  HoldfastError,
  jsonPath,
  redisAddress,
  redisAddressProblems,
  type ClusterSettings,
  type Problem,
  type RedisAddress,
  type System,
} from '#core';
import type { StoredAddress } from '#node-api';
import { checkCoordinationStore, type StoreCheck } from '#ownership';

/** @throws HoldfastError HF_SETTINGS_INVALID naming what is wrong by its path, never by its value */
export async function storeAddress(settings: ClusterSettings, secretsFolder: string): Promise<StoredAddress> {
  const { coordination, clusterName, sessionTtlMs } = settings;
  if (coordination.kind !== 'redis') return { kind: 'embedded' };
  const urls = await Promise.all(
    coordination.urls.map(async (url, index) =>
      typeof url === 'string' ? url : readSecret(secretsFolder, url.secretRef, index),
    ),
  );
  const address = redisAddress({ clusterName, urls, sessionTtlMs });
  const problems = redisAddressProblems(address, ['coordination']);
  if (problems.length > 0) throw invalid(problems);
  return address;
}

/**
 * Asks every server, and says what its operator may want to change.
 * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when too few answer, HF_STATE_UNUSABLE when one is set up so that keys get lost
 */
export async function requireFitStore(
  address: RedisAddress,
  { system, say }: { system: System; say: (text: string) => void },
): Promise<void> {
  const checks = await checkCoordinationStore(address, system);
  const fault = faultOf(checks);
  if (fault) throw fault;
  for (const { unreachable, warnings } of checks) {
    if (unreachable !== null)
      say(`warning: cannot reach ${unreachable}; leases need more than half of the servers`);
    for (const warning of warnings) say(`warning: ${warning}`);
  }
}

/** Pure. */
export function faultOf(checks: readonly StoreCheck[]): HoldfastError | null {
  const lost = checks.filter(check => check.unreachable !== null);
  const [directory] = checks;
  if (directory?.unreachable !== null || lost.length * 2 >= checks.length) {
    return new HoldfastError(
      'HF_COORDINATION_UNAVAILABLE',
      `cannot reach the coordination store: ${lost.map(check => check.unreachable).join('; ')}. Is it running, and does $.coordination.urls name it?`,
      { details: { unreachable: lost.map(check => check.endpoint) } },
    );
  }
  const problems = checks.flatMap(check => check.problems);
  if (problems.length === 0) return null;
  return new HoldfastError(
    'HF_STATE_UNUSABLE',
    `the coordination store is not fit for use: ${problems.join('; ')}`,
    {
      details: { store: problems },
    },
  );
}

async function readSecret(folder: string, name: string, index: number): Promise<string> {
  const path = join(folder, name);
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    const at = jsonPath(['coordination', 'urls', index, 'secretRef']);
    throw invalid([{ path: at, value: name, expected: `a secret in the file ${path} (${reason})` }]);
  }
}

function invalid(problems: Problem[]): HoldfastError {
  const text = problems.map(describeProblem).join('; ');
  return new HoldfastError('HF_SETTINGS_INVALID', `The settings are not valid: ${text}`, {
    details: { problems },
  });
}
