/**
 * Lua scripts as values. They are texts in modules, not files beside them, because a component host is bundled into one file and
 * must find them there; Node runs the very same modules unbundled.
 *
 * A script is the head (`base.lua.ts`), what it needs of the keys' part (`keys.lua.ts`), and its own body. Each body says what it takes
 * and gives. `KEYS[1]` is always `<prefix>meta`, from which all other names are made, so that a script works on whatever
 * sessions and pools it meets: fine on one Redis, on replicas and behind Sentinel; on Redis Cluster because the prefix holds a hash tag.
 */
import { createHash } from 'node:crypto';

export interface Script {
  readonly name: string;
  readonly lua: string;
  /** What EVALSHA knows it by. */
  readonly sha: string;
  /** Whether its answer is a list that begins with the store's time, milliseconds. */
  readonly tellsTime: boolean;
}

/** Marks Lua for readers and editors, and keeps its backslashes. */
export const lua = String.raw;

export function defineScript(name: string, ...parts: string[]): Script {
  const text = `-- holdfast ${name}\n${parts.join('\n')}`;
  return { name, lua: text, sha: createHash('sha1').update(text).digest('hex'), tellsTime: false };
}

export function tellingTime(script: Script): Script {
  return { ...script, tellsTime: true };
}
