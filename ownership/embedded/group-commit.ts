/**
 * Decides at once, answers when it is durable. Operations are decided in memory in the order in which they come; what they
 * changed is committed once for all operations of a turn of the event loop (and goes on collecting while more keep coming, up to
 * `operationsMax`), then their answers and the events go out. An operation that changed nothing still waits for changes
 * before it, because its answer may rest on them; with none pending it is answered without any commit.
 */
import { HoldfastError, type DirectoryEvent } from '#core';
import type { Directory } from '../directory/directory.ts';
import type { CoordinationStore } from './store.ts';

export interface GroupCommit {
  /** Resolves with what `decide` returned, or rejects with what it threw, once all changes so far are durable. */
  run<T>(decide: () => T): Promise<T>;
  /** Commits what is pending, then runs `work` as a transaction of its own. */
  exclusively<T>(work: () => T): Promise<T>;
  /** Commits what is pending. Throws, after calling `onFailure`, if that is impossible. */
  flush(): void;
}

export interface GroupCommitPorts {
  store: CoordinationStore;
  directory: Directory;
  /** Called with the events of a commit, after it. */
  publish: (events: DirectoryEvent[]) => void;
  /** The store cannot be written: memory is ahead of it, and the process must not go on. */
  onFailure: (error: unknown) => void;
}

const operationsMax = 512;

interface Waiting {
  answer: () => void;
  fail: (error: unknown) => void;
}

export function createGroupCommit(ports: GroupCommitPorts): GroupCommit {
  const { store, directory } = ports;
  let waiting: Waiting[] = [];
  let scheduled = false;
  let broken: { error: unknown } | null = null;

  function flush(): void {
    if (broken) throw broken.error;
    const answered = waiting;
    waiting = [];
    const { changes, events } = directory.takeOutput();
    try {
      if (changes.length > 0) store.transaction(() => store.write(changes));
    } catch (error) {
      for (const { fail } of answered) fail(error);
      throw breakWith(error);
    }
    for (const { answer } of answered) answer();
    if (events.length > 0) ports.publish(events);
  }

  /** What is not an answer to the caller comes from SQLite: from then on nothing is certain any more. */
  function breakWith(error: unknown): unknown {
    if (!broken) {
      broken = { error };
      ports.onFailure(error);
    }
    return error;
  }

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    let before = 0;
    const turn = () => {
      if (waiting.length > before && waiting.length < operationsMax) {
        before = waiting.length;
        setImmediate(turn);
        return;
      }
      scheduled = false;
      try {
        if (!broken) flush();
      } catch {
        // `onFailure` has been told, and so has every operation that was waiting.
      }
    };
    setImmediate(turn);
  }

  return {
    run(decide) {
      return new Promise((resolve, reject) => {
        if (broken) return reject(broken.error as Error);
        let answer: () => void;
        try {
          const result = decide();
          answer = () => resolve(result);
        } catch (error) {
          if (!(error instanceof HoldfastError)) return reject(breakWith(error) as Error);
          answer = () => reject(error);
        }
        if (waiting.length === 0 && !directory.hasOutput) return answer();
        waiting.push({ answer, fail: reject });
        schedule();
      });
    },
    async exclusively(work) {
      flush();
      try {
        return store.transaction(work);
      } catch (error) {
        throw error instanceof HoldfastError ? error : breakWith(error);
      }
    },
    flush,
  };
}
