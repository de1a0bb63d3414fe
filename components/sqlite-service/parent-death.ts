/**
 * How a SQL process dies with its host, even in the middle of a long statement. On Linux the kernel does it, if
 * `setpriv` (util-linux) is there to ask for it; otherwise a thread in the SQL process watches, for 10 MiB more each.
 */
import { execFile } from 'node:child_process';

const program = 'setpriv';
const options = ['--pdeathsig', 'KILL', '--'];

export interface Launcher {
  /** The program to start, and its arguments before those of the module. */
  execPath: string;
  execArgv: string[];
  watchParent: boolean;
}

export function findLauncher(platform = process.platform): Promise<Launcher> {
  const bySelf: Launcher = { execPath: process.execPath, execArgv: [], watchParent: true };
  if (platform !== 'linux') return Promise.resolve(bySelf);
  return new Promise(resolve => {
    execFile(program, [...options, process.execPath, '--version'], error => {
      resolve(
        error ? bySelf : { execPath: program, execArgv: [...options, process.execPath], watchParent: false },
      );
    });
  });
}
