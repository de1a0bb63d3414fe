/** The words of the machine in `key.ts`: what a key in a host can be, what can happen to it, and what follows. */
import type { Claim, Fence, SessionId } from '#core';

/** A request that waits for its turn. */
export interface Waiter {
  readonly requestId: number;
  readonly fence: Fence;
}

/** An opening in the making. */
export interface Opening {
  readonly openId: number;
  readonly fence: Fence;
  readonly hadOwner: boolean;
  /** Openings tried so far, this one included. */
  readonly tries: number;
  readonly waiters: readonly Waiter[];
}

/** Who gets a key: a session, null: whichever the directory chooses, `nobody`: it is given back. */
export type HandOffTarget = SessionId | 'nobody' | null;

/** What becomes of a key when it has been closed. */
export type Afterwards =
  | { readonly type: 'release' }
  | { readonly type: 'transfer'; readonly to: HandOffTarget; readonly fence: Fence }
  /** It stays the session's until that ends. */
  | { readonly type: 'keep' }
  /** Ownership is lost already, and requests that come under a new session may wait. */
  | { readonly type: 'lost' }
  /** The component took too long to open it: the right to that opening is over, the key is still the session's. */
  | { readonly type: 'late' };

export type KeyState =
  | {
      readonly phase: 'verifying';
      readonly openId: number;
      readonly fence: Fence;
      readonly waiters: readonly Waiter[];
    }
  | ({ readonly phase: 'opening' } & Opening)
  | ({ readonly phase: 'raising' } & Opening)
  | ({ readonly phase: 'confirming' } & Opening)
  | {
      readonly phase: 'ready';
      readonly openId: number;
      readonly fence: Fence;
      readonly inFlight: number;
      readonly waiters: readonly Waiter[];
    }
  | {
      readonly phase: 'draining';
      readonly openId: number;
      readonly fence: Fence;
      readonly inFlight: number;
      readonly after: Planned;
    }
  | {
      readonly phase: 'discarding' | 'closing';
      readonly openId: number;
      readonly fence: Fence;
      readonly after: Afterwards;
      readonly waiters: readonly Waiter[];
    }
  /** `attempt` counts how often the directory was asked. */
  | {
      readonly phase: 'releasing';
      readonly openId: number;
      readonly fence: Fence;
      readonly attempt: number;
    }
  | {
      readonly phase: 'transferring';
      readonly openId: number;
      readonly fence: Fence;
      readonly to: HandOffTarget;
      readonly attempt: number;
    };

/** While the key is still ours. */
export type Planned = Exclude<Afterwards, { type: 'lost' | 'late' }>;

/** What the directory says about the key, null: not mine. */
export type Verdict = { readonly fence: Fence; readonly hadOwner: boolean } | null;

export type KeyEvent =
  | { readonly type: 'request'; readonly requestId: number; readonly fence: Fence }
  | { readonly type: 'verified'; readonly openId: number; readonly verdict: Verdict }
  | { readonly type: 'opened'; readonly openId: number }
  /** The resource holds a fence (`held`) that is not below ours. */
  | { readonly type: 'open-fenced'; readonly openId: number; readonly held: Fence; readonly error: unknown }
  | { readonly type: 'raised'; readonly openId: number; readonly verdict: Verdict }
  | { readonly type: 'confirmed'; readonly openId: number; readonly owned: boolean }
  /** Verifying, opening, raising or confirming threw. */
  | { readonly type: 'failed'; readonly openId: number; readonly error: unknown }
  | { readonly type: 'done'; readonly openId: number }
  /** A request was refused by the resource: it holds another fence than ours. */
  | { readonly type: 'fenced'; readonly openId: number }
  | { readonly type: 'closed'; readonly openId: number }
  | { readonly type: 'released'; readonly openId: number }
  /** The component did not open it in time. */
  | { readonly type: 'open-late'; readonly openId: number }
  /** Releasing or transferring was not answered: nobody knows whether it was done. */
  | { readonly type: 'unanswered'; readonly openId: number }
  /** `held: false`: the directory says that the key was not ours under that fence. */
  | {
      readonly type: 'transferred';
      readonly openId: number;
      readonly outcome: { readonly held: true; readonly claim: Claim | null } | { readonly held: false };
    }
  | { readonly type: 'drain-key'; readonly release: boolean }
  /** To be given to another session; `fence` is the one that whoever asks knows. */
  | { readonly type: 'hand-off'; readonly fence: Fence; readonly to: HandOffTarget }
  /** The time for the hand-off is over. */
  | { readonly type: 'hand-off-late' }
  /** Whether the key is still ours is not known: nobody is to wait for it here. */
  | { readonly type: 'suspend' }
  | { readonly type: 'lose' };

export type Rejection =
  | { readonly type: 'not-owner' }
  | { readonly type: 'too-many' }
  | { readonly type: 'open-late' }
  | { readonly type: 'error'; readonly error: unknown };

export type KeyEffect =
  | { readonly type: 'verify'; readonly openId: number }
  | { readonly type: 'open'; readonly openId: number; readonly fence: Fence; readonly hadOwner: boolean }
  | { readonly type: 'raise'; readonly openId: number; readonly above: Fence }
  | { readonly type: 'confirm'; readonly openId: number; readonly fence: Fence }
  | { readonly type: 'run'; readonly openId: number; readonly requestId: number }
  | { readonly type: 'reject'; readonly requestId: number; readonly reason: Rejection }
  /** `Resource.signal` aborts: the right to this opening is over. */
  | { readonly type: 'end-right'; readonly openId: number }
  | { readonly type: 'close'; readonly openId: number }
  | {
      readonly type: 'release';
      readonly openId: number;
      readonly fence: Fence;
      readonly attempt: number;
    }
  | {
      readonly type: 'transfer';
      readonly openId: number;
      readonly fence: Fence;
      readonly to: HandOffTarget;
      readonly attempt: number;
    }
  /** A hand-off ended: `claim` is the new right to the key; null when nobody got it, or nobody knows. */
  | { readonly type: 'handed-off'; readonly moved: boolean; readonly claim: Claim | null };

export interface KeyOptions {
  /** Requests served at once; 0 means no bound. */
  readonly concurrency: number;
  /** An id that was never used before, for a new opening. */
  readonly newOpenId: number;
}

export interface KeyStep {
  readonly state: KeyState | null;
  readonly effects: readonly KeyEffect[];
}
