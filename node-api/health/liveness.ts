/**
 * Whether a host's event loop still turns, decided from rounds: the agent asks, and looks at the next round whether an answer came.
 * Pure, and without a clock: after so many rounds in a row without an answer the host counts as unresponsive.
 *
 * What must hold: only time in which this agent itself was awake counts. A round is one turn of the agent's own timer, however late it comes,
 * and between two rounds the agent reads what has arrived. So an agent that stalled for a minute, or a machine that was frozen or
 * suspended, adds one round at most, and the answers that had come meanwhile are taken before the next.
 */

/** An unresponsive host is found after `livenessMs` at the earliest, and after a quarter more at the latest. */
export const LIVENESS_ROUNDS = 4;

export interface LivenessState {
  /** Rounds since the oldest question without an answer was asked; null: none is open. */
  readonly rounds: number | null;
  /** A question is on its way. */
  readonly asking: boolean;
}

export type LivenessEvent =
  | { readonly type: 'round' }
  | { readonly type: 'answered' }
  /** It could not be asked: the host is not connected at the moment. */
  | { readonly type: 'not-asked' };

export interface LivenessStep {
  readonly state: LivenessState;
  readonly effect: 'ask' | 'unresponsive' | null;
}

export const initialLiveness: LivenessState = { rounds: null, asking: false };

export function stepLiveness(state: LivenessState, event: LivenessEvent): LivenessStep {
  switch (event.type) {
    case 'answered':
      return { state: initialLiveness, effect: null };
    case 'not-asked':
      return { state: { ...state, asking: false }, effect: null };
    case 'round': {
      const rounds = state.rounds === null ? 0 : state.rounds + 1;
      if (rounds >= LIVENESS_ROUNDS) return { state: initialLiveness, effect: 'unresponsive' };
      return { state: { rounds, asking: true }, effect: state.asking ? null : 'ask' };
    }
  }
}
