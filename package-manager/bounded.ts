/** Order in concurrency: a bound on how many run at once, a queue in which one follows the other, a pause for others. */

/** At most `width` at once. After a failure nothing more begins, what runs is awaited, and the first failure is thrown. */
export async function forEachBounded<Item>(
  items: readonly Item[],
  width: number,
  action: (item: Item) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  let failed = false;
  async function work(): Promise<void> {
    // All workers draw from one iterator, so each item is taken once.
    for (const item of waiting) {
      if (failed) return;
      try {
        await action(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, work));
  const rejected = workers.find(worker => worker.status === 'rejected');
  if (rejected) throw rejected.reason;
}

export interface Queue {
  run<Result>(task: () => Promise<Result>): Promise<Result>;
}

export function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve();
  return {
    run(task) {
      const result = last.then(task);
      last = result.catch(() => undefined); // its caller learns of it; the next task is none the worse
      return result;
    },
  };
}

/** Lets the event loop turn once: between the slices of long synchronous work. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
