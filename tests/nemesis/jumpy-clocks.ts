/**
 * Nodes whose hosts can be told another wall-clock time while they run (libfaketime; the monotonic clock stays the machine's). An agent starts its
 * hosts with the very program that it runs on, so that it runs on a link to Node that is a script at all other times.
 */
import { constants, existsSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface JumpyClocks {
  /** The program for an agent of this name. It must be armed before each start of the agent. */
  program(name: string): string;
  /** The next start of the program is that of the agent. */
  arm(name: string): Promise<void>;
  /** Whatever is started by the program from now on is a host with a clock of its own. */
  disarm(name: string): Promise<void>;
  /** Within about a second all hosts of this node tell the time so much later than it is. */
  jump(name: string, byS: number): Promise<void>;
}

const libraries = '/usr/lib';

/** Null: libfaketime is not installed. `directory` is not there yet. */
export async function createJumpyClocks(directory: string): Promise<JumpyClocks | null> {
  const library = await findLibrary();
  if (library === null) return null;
  await mkdir(directory, { recursive: true });
  const real = join(directory, 'node');
  await copyFile(process.execPath, real, constants.COPYFILE_FICLONE);
  const program = (name: string) => join(directory, `node-of-${name}`);
  const clock = (name: string) => join(directory, `clock-of-${name}`);

  /** At once, whoever starts it at this moment. */
  async function replace(name: string, make: (path: string) => Promise<unknown>): Promise<void> {
    const made = `${program(name)}.new`;
    await rm(made, { force: true });
    await make(made);
    await rename(made, program(name));
  }
  async function jump(name: string, byS: number): Promise<void> {
    const made = `${clock(name)}.new`;
    await writeFile(made, `${byS < 0 ? '' : '+'}${byS}\n`);
    await rename(made, clock(name));
  }

  return {
    program,
    jump,
    async arm(name) {
      if (!existsSync(clock(name))) await jump(name, 0);
      await replace(name, path => link(real, path));
    },
    async disarm(name) {
      const settings = {
        LD_PRELOAD: library,
        FAKETIME_TIMESTAMP_FILE: clock(name),
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        NO_FAKE_STAT: '1',
      };
      const variables = Object.entries(settings).map(([key, value]) => `${key}='${value}'`);
      const script = `#!/bin/sh\n${variables.join(' ')} exec '${real}' "$@"\n`;
      await replace(name, path => writeFile(path, script, { mode: 0o755 }));
    },
  };
}

async function findLibrary(): Promise<string | null> {
  for (const folder of await readdir(libraries).catch(() => [])) {
    const path = join(libraries, folder, 'faketime/libfaketimeMT.so.1');
    if (existsSync(path)) return path;
  }
  return null;
}
