/**
 * The life of an entry, as data. Everything that changes `EntryRecord.state` goes through `step`.
 *
 *               hello (and component started)             crashed, policy gave up
 *    Starting ────────────────────────────────▶ Running ───────────────────────────▶ CrashLoop
 *      │  ▲ │ crashed                              │ crashed, policy restarts             │
 *      │  │ └────────────▶ BackingOff ◀────────────┘                                      │
 *      │  └── retry ───────────┘ │                                                        │
 *      │ failed                  │ stop                stop: Running, Starting ──▶ Stopping
 *      ▼                         ▼                                                        │ gone
 *    Exited ◀─────────────────────────────────────────────────────────────────────────────┘
 */
import type { ProcessState } from '#core';

export type LifeEvent = 'ready' | 'restarting' | 'gave-up' | 'retry' | 'stop' | 'ended';

const transitions: Record<ProcessState, Partial<Record<LifeEvent, ProcessState>>> = {
  Starting: {
    ready: 'Running',
    restarting: 'BackingOff',
    'gave-up': 'CrashLoop',
    stop: 'Stopping',
    ended: 'Exited',
  },
  Running: { restarting: 'BackingOff', 'gave-up': 'CrashLoop', stop: 'Stopping', ended: 'Exited' },
  Stopping: { stop: 'Stopping', ended: 'Exited' },
  BackingOff: { retry: 'Starting', stop: 'Stopping', ended: 'Exited' },
  CrashLoop: { stop: 'Stopping', ended: 'Exited' },
  Exited: {},
};

/** The next state, or null where the event means nothing (it came too late): the caller leaves things as they are. */
export function step(state: ProcessState, event: LifeEvent): ProcessState | null {
  return transitions[state][event] ?? null;
}

/** Whether an entry in this state has, or is about to have, a process: a second start with its id is answered with it. */
export function isLive(state: ProcessState): boolean {
  return state === 'Starting' || state === 'Running' || state === 'Stopping' || state === 'BackingOff';
}
