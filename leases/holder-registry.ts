/**
 * What `hold` remembers of its own holdings, because for the store a holder is one and the same however often it asks:
 *
 * - One holding at a time for a (name, holder). A second one would be granted as an extension of the first, and two works
 *   would run at once; here it is contended instead.
 * - Fences that are *spent*: their release was sent and never answered, so that it may still be executed (a store that was frozen reads
 *   its sockets when it wakes). Working under such a fence again could lose the lease without notice.
 */
export interface HolderTurn {
  /** Begins this holding's turn, or goes on with it. False while another one has it. */
  take(): boolean;
  /** A release of this fence is being sent. */
  spend(fence: bigint): void;
  /** It was answered: the store will not give this fence out again. */
  forget(fence: bigint): void;
  isSpent(fence: bigint): boolean;
  end(): void;
}

/** More names than anybody holds at once with a store that does not answer. */
const spentMax = 10_000;

export function createHolderRegistry(): { enter(name: string, holder: string): HolderTurn } {
  const turns = new Map<string, HolderTurn>();
  /** The highest of each (name, holder): the store never goes back below it. */
  const spent = new Map<string, bigint>();

  return {
    enter(name, holder) {
      const key = JSON.stringify([name, holder]);
      const turn: HolderTurn = {
        take() {
          if (!turns.has(key)) turns.set(key, turn);
          return turns.get(key) === turn;
        },
        spend(fence) {
          spent.delete(key);
          spent.set(key, fence);
          const [oldest] = spent.keys();
          if (spent.size > spentMax) spent.delete(oldest!);
        },
        forget(fence) {
          if (spent.get(key) === fence) spent.delete(key);
        },
        isSpent: fence => spent.has(key) && fence <= spent.get(key)!,
        end() {
          if (turns.get(key) === turn) turns.delete(key);
        },
      };
      return turn;
    },
  };
}
