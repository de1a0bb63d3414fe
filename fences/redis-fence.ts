/**
 * The fence of something in Redis: a key beside the data, compared by the very script that writes.
 *
 * Why this is safe, and how far. Redis runs a script as one step, so nothing comes between comparison and write. But the fence is as durable
 * as Redis is: after a restart without its last writes, or a failover to a replica that had not got them, an older fence may
 * be there again, and older data with it. The newer owner notices (its writes are refused); what it was told as written in
 * between is lost. A Redis that evicts keys must not evict this one: `maxmemory-policy` noeviction or one of volatile-*.
 */
import { createHash } from 'node:crypto';
import { checkFence, fenced } from './fence.ts';
import { installScript, writeScript } from './redis-scripts.lua.ts';

/** What is needed of a client of ioredis. In a cluster, all keys must be in one slot, see `keys`. */
export interface FencedRedis {
  evalsha(hash: string, keyCount: number, ...words: (string | Buffer)[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...words: (string | Buffer)[]): Promise<unknown>;
}

/** A command and its arguments, `['SET', 'a', '1']`. */
export type RedisCommand = readonly [string, ...(string | number | Buffer)[]];

export interface RedisFenceOptions {
  /** Of the fence itself, for example `{customers}:fence`. */
  key: string;
  /** Who owns it, for example a lease's holder: may install the fence that it has installed already. Default: nobody may. */
  owner?: string;
}

export interface RedisFence {
  /**
   * Takes the resource over. Call it before you read anything.
   * @throws HoldfastError HF_FENCED when the resource has seen this fence or a higher one; errors of the client
   */
  install(fence: bigint): Promise<void>;
  /**
   * Runs the commands, all in one step, if the resource holds exactly this fence. Resolves to their answers, in order. Reading
   * commands are welcome among them. `keys`: those that the commands touch, needed in a cluster only.
   * @throws HoldfastError HF_FENCED, when nothing was run; an Error with `commandIndex` when a command failed: Redis does not take back
   * those before it, and none after it was run; errors of the client, which leave open whether they were run
   */
  write(fence: bigint, commands: readonly RedisCommand[], keys?: readonly string[]): Promise<unknown[]>;
}

/** Redis refuses a script's `unpack` of some 8,000 values; far below it is a limit that one can rely on. */
const wordsMax = 4_000;

export function createRedisFence(redis: FencedRedis, options: RedisFenceOptions): RedisFence {
  const { key, owner = '' } = options;
  const install = toScript(installScript);
  const write = toScript(writeScript);

  /** By hash; by its text when this Redis does not know it. */
  async function run(script: Script, keys: readonly string[], values: readonly (string | Buffer)[]) {
    const words = [...keys, ...values];
    try {
      return await redis.evalsha(script.hash, keys.length, ...words);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return redis.eval(script.text, keys.length, ...words);
    }
  }

  return {
    async install(fence) {
      checkFence(fence);
      const held = await run(install, [key], [fence.toString(), owner]);
      if (held !== '') throw fenced(held as string);
    },
    async write(fence, commands, keys = []) {
      checkFence(fence);
      const words = commands.flatMap(command => {
        if (command.length > wordsMax) {
          throw new RangeError(`a command may have ${wordsMax} words; send several`);
        }
        return [
          String(command.length),
          ...command.map(word => (typeof word === 'number' ? String(word) : word)),
        ];
      });
      const answer = (await run(write, [key, ...keys], [fence.toString(), ...words])) as unknown[];
      const [outcome, ...rest] = answer;
      if (outcome === 1) return rest;
      if (outcome === 0) throw fenced(rest[0] as string);
      const [number, message] = rest as [number, string];
      throw Object.assign(new Error(`${commands[number - 1]?.[0] ?? 'a command'} failed: ${message}`), {
        commandIndex: number - 1,
      });
    },
  };
}

interface Script {
  text: string;
  /** By which Redis remembers it. */
  hash: string;
}

function toScript(text: string): Script {
  return { text, hash: createHash('sha1').update(text).digest('hex') };
}
