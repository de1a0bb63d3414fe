/** Instructions that processes execute in user mode, by `perf stat`, where the machine counts them: they hardly depend on who else runs. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Whether this machine counts them; virtual machines often do not. */
export function countsInstructions(): boolean {
  try {
    return countOf(execFileSync('perf', statWords(['true']), { encoding: 'utf8' })) > 0;
  } catch {
    return false; // there is no perf, or it may not count
  }
}

/** Counts those of the processes while the work goes on. */
export async function countInstructions(pids: readonly number[], work: () => Promise<void>): Promise<number> {
  const child = spawn('perf', statWords(['-p', pids.join(',')]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const exited = once(child, 'exit');
  try {
    await work();
  } finally {
    child.kill('SIGINT');
    await exited;
  }
  return countOf(text);
}

function statWords(words: readonly string[]): string[] {
  return ['stat', '-x', ',', '--log-fd', '1', '-e', 'instructions:u', ...words];
}

/** 0: not counted. */
function countOf(text: string): number {
  return text
    .split('\n')
    .map(line => Number(line.split(',')[0]))
    .filter(count => Number.isFinite(count))
    .reduce((sum, count) => sum + count, 0);
}
