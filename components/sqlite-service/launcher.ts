/**
 * How a SQL process is started so that the kernel keeps it in bounds, where there is a kernel that can (Linux, with the
 * small programs of util-linux): it dies with its host, even in the middle of a long statement, and it gets only so much
 * memory, however large the row that a few words of SQL ask for. Elsewhere a thread in the SQL process watches over its
 * host, for 10 MiB more each, and only the deadline bounds memory.
 */
import { execFile } from 'node:child_process';

export interface Launcher {
  /** The program to start, and its arguments before those of the module. */
  execPath: string;
  execArgv: string[];
  watchParent: boolean;
}

/** What Node itself takes: mostly address space for its threads that is never touched. */
const nodeBytes = 1024 * 1024 * 1024;
/** A value is copied a few times on its way from the file into the answer. */
const copiesOfValue = 16;

/** @param maxBytes the largest value, and the largest answer */
export async function findLauncher(maxBytes: number, platform = process.platform): Promise<Launcher> {
  if (platform === 'linux') {
    const [dying, bounded] = [
      ['setpriv', '--pdeathsig', 'KILL', '--'],
      ['prlimit', `--data=${nodeBytes + copiesOfValue * maxBytes}`, '--'],
    ];
    for (const [execPath = '', ...options] of [[...dying, ...bounded], dying]) {
      const execArgv = [...options, process.execPath];
      if (await runs(execPath, [...execArgv, '--version'])) return { execPath, execArgv, watchParent: false };
    }
  }
  return { execPath: process.execPath, execArgv: [], watchParent: true };
}

function runs(program: string, words: string[]): Promise<boolean> {
  return new Promise(resolve => void execFile(program, words, error => resolve(error === null)));
}
