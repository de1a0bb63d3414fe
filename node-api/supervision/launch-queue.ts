/**
 * Lets a few processes be launched at once and no more: a node that is told to start a hundred copies would otherwise
 * load a hundred at once, and the first would be ready when the last is. A turn lasts from the spawn to the hello, which is the
 * part that takes processor time; what a component does in its own start waits for nobody, nor does anybody wait for that.
 * Turns go round by lane, so that one instance with many copies does not keep the others waiting.
 */
export interface LaunchQueue {
  /** Resolves when it is this one's turn, to what ends the turn; ending it again does nothing. Rejects with the signal's reason. */
  enter(lane: string, signal: AbortSignal): Promise<() => void>;
  /** How many wait. */
  readonly waiting: number;
}

export function createLaunchQueue(parallelMax: number): LaunchQueue {
  let running = 0;
  /** In the order of their turns: a lane that had one goes to the end. Never holds an empty lane. */
  const lanes = new Map<string, (() => void)[]>();

  function begin(): () => void {
    running++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      running--;
      next();
    };
  }

  function next(): void {
    if (running >= parallelMax) return;
    const [first] = lanes;
    if (!first) return;
    const [lane, queue] = first;
    const call = queue.shift()!;
    lanes.delete(lane);
    if (queue.length > 0) lanes.set(lane, queue);
    call();
  }

  return {
    async enter(lane, signal) {
      signal.throwIfAborted();
      if (running < parallelMax) return begin(); // then nobody waits either
      const { promise, resolve, reject } = Promise.withResolvers<() => void>();
      const call = () => {
        signal.removeEventListener('abort', leave);
        resolve(begin());
      };
      const leave = () => {
        const left = lanes.get(lane)?.filter(other => other !== call) ?? [];
        if (left.length > 0) lanes.set(lane, left);
        else lanes.delete(lane);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', leave, { once: true });
      lanes.set(lane, [...(lanes.get(lane) ?? []), call]);
      return promise;
    },
    get waiting() {
      return [...lanes.values()].reduce((sum, queue) => sum + queue.length, 0);
    },
  };
}
