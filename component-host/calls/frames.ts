/**
 * Which request the code that runs at this moment belongs to. A component calls others from wherever it likes; that the call
 * is made on behalf of a request (and so, that the request waits for it) is known from the asynchronous context alone.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** One request while the component answers it. */
export interface Frame {
  readonly link: string;
  /** Who waits for it, the outermost first; its own link is the last. */
  readonly links: readonly string[];
  readonly requestId: () => string | null;
  /** Calls that it made and that have not been answered yet. */
  readonly outgoing: Set<OutgoingCall>;
  ended: boolean;
}

export interface OutgoingCall {
  readonly callId: string;
  /** Asks the host that has the call whether, through it, `question.origin` waits for itself. Null while no host has it. */
  ask: ((question: Question) => Promise<Waits>) | null;
}

/** Follows the waiting from call to call; see `turns.ts`. */
export interface Question {
  /** The call that wants to know. */
  readonly origin: string;
  /** The calls that it came by. */
  readonly passed: readonly string[];
}

/** A call that waits for its turn at a resource. */
export interface Wait {
  readonly callId: string;
  readonly link: string;
}

/** Every call that waits for its turn on the way back to the origin; null: the origin does not wait for itself this way. */
export type Waits = readonly Wait[] | null;

const storage = new AsyncLocalStorage<Frame>();

export function runInFrame<Result>(frame: Frame, run: () => Result): Result {
  return storage.run(frame, run);
}

/** What is still running; code that lives on after its request was answered belongs to none. */
export function currentFrame(): Frame | null {
  const frame = storage.getStore();
  return frame && !frame.ended ? frame : null;
}
