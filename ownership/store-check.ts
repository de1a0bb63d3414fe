/**
 * Looks whether the Redis servers of an address are fit to hold who owns what, before a cluster starts on them. Made of the
 * servers' own words (`INFO`, `CONFIG GET`); what they do not tell is a warning. Changes nothing.
 */
import { storeEndpoint, type RedisAddress, type System } from '#core';

export interface StoreCheck {
  /** `host:port/database`; no secrets. */
  endpoint: string;
  /** Null, or why it cannot be asked. */
  unreachable: string | null;
  /** Why a cluster must not run on it: keys would be lost while it works as it is set up. */
  problems: string[];
  /** What its operator may accept. */
  warnings: string[];
}

const connectMs = 2_000;

/** Asks every server of the address at once, for about two seconds. Never rejects. */
export function checkCoordinationStore(address: RedisAddress, system: System): Promise<StoreCheck[]> {
  return Promise.all(address.urls.map(url => checkOne(url, system)));
}

/** From what a Redis says of itself (`INFO` as fields) and its `appendfsync`, null if it does not tell. Pure. */
export function judgeRedis(
  info: Readonly<Record<string, string>>,
  appendfsync: string | null,
): Pick<StoreCheck, 'problems' | 'warnings'> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const {
    maxmemory = '0',
    maxmemory_policy: policy,
    redis_version: version = '',
    role,
    redis_mode: mode,
  } = info;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  // As `scripts/attach.lua.ts` demands.
  if (version !== '' && (major < 6 || (major === 6 && minor < 2))) {
    problems.push(`it is Redis ${version}, but must be 6.2 or newer`);
  }
  if (mode === 'cluster') problems.push('it is a node of a Redis Cluster; use a single master');
  if (role !== undefined && role !== 'master') problems.push('it is a replica; use its master');
  if (policy !== undefined && policy !== 'noeviction') {
    const advice = `maxmemory-policy is ${policy}: set it to noeviction`;
    if (maxmemory === '0') warnings.push(`${advice}, or a later memory limit would drop keys`);
    else problems.push(`${advice}, or Redis drops who owns what when its memory is full`);
  }
  if (info.aof_enabled === undefined) {
    warnings.push('it does not tell how it keeps its data');
  } else if (info.aof_enabled === '0') {
    warnings.push(
      'appendonly is off: after every end of Redis the cluster gives nothing out for one sessionTtlMs, until its hosts have said what they hold',
    );
  } else if (appendfsync === 'no') {
    warnings.push(
      'appendfsync is "no": what the last seconds brought may be forgotten when its machine ends',
    );
  }
  return { problems, warnings };
}

async function checkOne(url: string, system: System): Promise<StoreCheck> {
  const endpoint = storeEndpoint(url);
  const { Redis } = await import('ioredis'); // not loaded by those who never ask
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: connectMs,
    commandTimeout: connectMs,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: () => null,
  });
  let lastError: Error | null = null;
  redis.on('error', error => (lastError = error));
  const cancel = system.timers.after(2 * connectMs, () => redis.disconnect());
  try {
    await redis.connect();
    await redis.ping();
    const [info, appendfsync] = await Promise.all([
      redis.info().catch(() => ''), // not allowed: judged by what is known
      redis.config('GET', 'appendfsync').catch(() => null),
    ]);
    const told = judgeRedis(fieldsOf(info), valueOf(appendfsync));
    const named = (text: string) => `${endpoint}: ${text}`;
    return {
      endpoint,
      unreachable: null,
      problems: told.problems.map(named),
      warnings: told.warnings.map(named),
    };
  } catch (error) {
    const reason = (lastError ?? (error as Error)).message;
    return { endpoint, unreachable: `${endpoint}: ${reason}`, problems: [], warnings: [] };
  } finally {
    cancel();
    redis.disconnect();
  }
}

/** `name:value` lines. */
function fieldsOf(info: string): Record<string, string> {
  return Object.fromEntries(
    info.split(/\r?\n/).flatMap(line => {
      const at = line.indexOf(':');
      return at > 0 && !line.startsWith('#') ? [[line.slice(0, at), line.slice(at + 1)]] : [];
    }),
  );
}

/** A list of name and value, or an object, as the protocol's version has it. */
function valueOf(answer: unknown): string | null {
  const found = Array.isArray(answer) ? answer[1] : (answer as { appendfsync?: unknown } | null)?.appendfsync;
  return typeof found === 'string' ? found : null;
}
