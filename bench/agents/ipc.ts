/** One command to a child process and its answer; the children here do one thing at a time. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export async function ask<Answer>(child: ChildProcess, command: object): Promise<Answer> {
  const ended = new AbortController();
  const exit = once(child, 'exit', { signal: ended.signal }).then(([code]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code}`);
  });
  try {
    const answer = once(child, 'message', { signal: ended.signal });
    child.send(command);
    return ((await Promise.race([answer, exit])) as [Answer])[0];
  } finally {
    ended.abort();
    exit.catch(() => {}); // it was waited for no longer
  }
}

/** Answers every command of the parent until it goes away. */
export async function answer<Command>(carryOut: (command: Command) => Promise<unknown>): Promise<never> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  process.on('message', (command: Command) => {
    void carryOut(command).then(result => process.send!(result ?? null));
  });
  process.once('disconnect', resolve);
  await over;
  process.exit(0);
}
