/** The words of the machine in `session.ts`: what a host's session can be, what can happen to it, and what follows. */
import type { ResourceKey, SessionId } from '#core';

/** A session as the host believes in it. */
export interface HeldSession {
  readonly sessionId: SessionId;
  readonly ttlMs: number;
  /** When the host stops by itself. */
  readonly deadlineMs: number;
  readonly renewAtMs: number;
  /** When the renewal under way was sent, null while there is none. */
  readonly renewalSentAtMs: number | null;
}

/** `forgotten`: the store lost its memory. `over`: it says that the session ended. `silent`: it could not be asked until the deadline. */
export type ResumeCause = 'forgotten' | 'over' | 'silent';

export type SessionState =
  | { readonly phase: 'idle' }
  | { readonly phase: 'opening'; readonly attempt: number; readonly sentAtMs: number }
  /** `resumeSentAtMs`: a call to resume is unanswered. Its session may have got all the keys, and be one that no host believes in. */
  | {
      readonly phase: 'waiting';
      readonly attempt: number;
      readonly retryAtMs: number;
      readonly resumeSentAtMs?: number;
    }
  | { readonly phase: 'live'; readonly held: HeldSession }
  /** `marking`: the directory is being told. `releasing`: keys are handed back one by one. `closing`: closed, not handed back. */
  | {
      readonly phase: 'draining';
      readonly held: HeldSession;
      readonly mode: 'marking' | 'releasing' | 'closing';
    }
  /** The session is lost, its keys may not be. `sentAtMs` is null while nothing is asked; `drain`: what is to come after. */
  | {
      readonly phase: 'resuming';
      readonly held: HeldSession;
      readonly cause: ResumeCause;
      readonly attempt: number;
      readonly sentAtMs: number | null;
      readonly retryAtMs: number;
      readonly drain: boolean;
    }
  /** Everything is being closed at once. `sessionId` is null when the session is over anyway. */
  | { readonly phase: 'ending'; readonly sessionId: SessionId | null }
  | { readonly phase: 'closing'; readonly sessionId: SessionId }
  | { readonly phase: 'ended' };

export type SessionEvent =
  | { readonly type: 'start' }
  /** Time has passed; also sent before every other event. */
  | { readonly type: 'tick' }
  | {
      readonly type: 'session-opened';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly expiresInMs: number;
    }
  | { readonly type: 'session-open-failed'; readonly sentAtMs: number }
  | {
      readonly type: 'session-renewed';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly alive: boolean;
      readonly expiresInMs: number;
      /** With `alive: false`: the store has lost its memory, and the session with it. */
      readonly forgotten?: boolean;
    }
  | { readonly type: 'session-renewal-failed'; readonly sessionId: SessionId; readonly sentAtMs: number }
  /** A session in place of the lost one was granted; what it does not keep is `refused`. */
  | {
      readonly type: 'session-resumed';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly expiresInMs: number;
      readonly refused: readonly ResourceKey[];
    }
  /** `refused`: the directory answered, and wants nothing of this process any more. */
  | { readonly type: 'session-resume-failed'; readonly sentAtMs: number; readonly refused: boolean }
  | { readonly type: 'drain' }
  /** The directory's answer to marking; `alive` null when it gave none. */
  | { readonly type: 'session-marked'; readonly sessionId: SessionId; readonly alive: boolean | null }
  /** No key is left. */
  | { readonly type: 'emptied' }
  /** Closing it in the directory was answered, or failed: then it expires by itself. */
  | { readonly type: 'session-closed'; readonly sessionId: SessionId }
  | { readonly type: 'abort' };

export type SessionEffect =
  | { readonly type: 'open-session'; readonly sentAtMs: number }
  | { readonly type: 'renew-session'; readonly sessionId: SessionId; readonly sentAtMs: number }
  | { readonly type: 'mark-draining'; readonly sessionId: SessionId }
  | { readonly type: 'close-session'; readonly sessionId: SessionId }
  /** Asks for a session in place of this one, with every key that is held. */
  | { readonly type: 'resume-session'; readonly sessionId: SessionId; readonly sentAtMs: number }
  /** To the keys: until it is known whether they are still owned, nothing is to begin. */
  | { readonly type: 'suspend-keys' }
  | { readonly type: 'session-switched'; readonly from: SessionId; readonly sessionId: SessionId }
  /** To the keys: those that were asked for and not refused stay, the others are lost. */
  | { readonly type: 'keep-keys'; readonly refused: readonly ResourceKey[] }
  /** A session that was granted too late to be used: nothing was opened under it. */
  | { readonly type: 'discard-session'; readonly sessionId: SessionId }
  /** To the keys: nothing is owned any more. */
  | { readonly type: 'lose-keys' }
  /** To the keys: finish, close, and hand back if `release`. */
  | { readonly type: 'drain-keys'; readonly release: boolean }
  | { readonly type: 'session-lost'; readonly sessionId: SessionId }
  | { readonly type: 'finished' };

export interface SessionTiming {
  readonly ttlMs: number;
  /** How much earlier than the directory the host stops. */
  readonly marginMs: number;
  /** What happens at the deadline while the directory is silent, and when it says that the session is over. Default `stop`. */
  readonly onAuthorityLoss?: 'stop' | 'serveFenced';
}

export interface SessionStep {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}
