/** Work on many things at once, but not on all of them. */

/** A gate that lets `limit` tasks in at a time, in order of asking. */
export function createGate(limit: number): <Result>(task: () => Promise<Result>) => Promise<Result> {
  let inside = 0;
  const waiting: (() => void)[] = [];
  return async task => {
    if (inside >= limit) await new Promise<void>(resolve => waiting.push(resolve));
    else inside += 1;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else inside -= 1;
    }
  };
}
