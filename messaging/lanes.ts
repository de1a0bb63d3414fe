/**
 * Runs work, so many at a time. Work with the same lane runs one after the other in the order of adding; work that is to run again keeps
 * its place at the head of its lane. Work without a lane waits for nobody.
 */
export interface Lanes<Work> {
  add(work: Work): void;
  /** Runs it once more, before what waits behind it. */
  again(work: Work): void;
  /** It will not run again: the next of its lane may. */
  done(work: Work): void;
  /** Takes it out, unless it runs at this moment. */
  drop(work: Work): boolean;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
}

export function createLanes<Work extends { readonly lane: string | null }>(options: {
  concurrency: number;
  /** Never rejects. */
  run: (work: Work) => Promise<void>;
}): Lanes<Work> {
  const { concurrency, run } = options;
  const ready = new Set<Work>();
  const running = new Set<Work>();
  /** The first of each holds the lane. */
  const lanes = new Map<string, Work[]>();
  const idle: (() => void)[] = [];

  function pump(): void {
    for (const work of ready) {
      if (running.size >= concurrency) return;
      ready.delete(work);
      running.add(work);
      void run(work).finally(() => {
        running.delete(work);
        pump();
        if (running.size === 0) for (const resolve of idle.splice(0)) resolve();
      });
    }
  }

  function leave(work: Work): void {
    if (work.lane === null) return;
    const lane = lanes.get(work.lane);
    if (!lane) return;
    const wasFirst = lane[0] === work;
    const place = lane.indexOf(work);
    if (place >= 0) lane.splice(place, 1);
    if (lane.length === 0) lanes.delete(work.lane);
    else if (wasFirst) ready.add(lane[0]!);
  }

  return {
    add(work) {
      if (work.lane !== null) {
        const lane = lanes.get(work.lane);
        if (lane) {
          lane.push(work);
          return;
        }
        lanes.set(work.lane, [work]);
      }
      ready.add(work);
      pump();
    },
    again(work) {
      ready.add(work);
      pump();
    },
    done(work) {
      leave(work);
      pump();
    },
    drop(work) {
      if (running.has(work)) return false;
      ready.delete(work);
      const lane = work.lane === null ? undefined : lanes.get(work.lane);
      if (lane) {
        const rest = lane.filter(other => other !== work);
        if (rest.length === 0) lanes.delete(work.lane!);
        else lanes.set(work.lane!, rest);
      }
      return true;
    },
    idle: () => (running.size === 0 ? Promise.resolve() : new Promise(resolve => void idle.push(resolve))),
  };
}
