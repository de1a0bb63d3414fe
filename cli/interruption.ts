/**
 * What ends a command from outside: Ctrl-C, SIGTERM, SIGHUP, or the end of the process that started us (its pipe, the
 * lifeline, closes even after SIGKILL). The first asks to stop; a second one, or more patience than a stop may take,
 * ends at once. One Ctrl-C can arrive several times (terminal, npm and the wrapper each pass it on), so signals that come
 * together count as one.
 */
import { Socket } from 'node:net';
import type { System } from '#core';

export interface Interruptions {
  /** Aborts at the first interruption. Its reason says which it was. */
  readonly asked: AbortSignal;
  /** Aborts at the second. */
  readonly insisted: AbortSignal;
  /** From now on the command stops by itself when asked; before, an interruption ends the process. */
  takeOver(): void;
}

/** Signals closer together than this are one. */
export const TOGETHER_MS = 400;

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** @param options.lifelineFd file descriptor of the pipe that our starter holds; 0 for none */
export function watchInterruptions(options: { system: System; lifelineFd: number }): Interruptions {
  const { clock } = options.system;
  const asked = new AbortController();
  const insisted = new AbortController();
  let takenOver = false;
  let lastAtMs = -Infinity;

  function interrupt(reason: string, exitCode: number): void {
    if (!takenOver) process.exit(exitCode);
    const nowMs = clock.monotonicMs();
    const together = nowMs - lastAtMs < TOGETHER_MS;
    lastAtMs = nowMs;
    if (!asked.signal.aborted) asked.abort(new Error(reason));
    else if (!together) insisted.abort(new Error(reason));
  }

  for (const signal of signals) process.on(signal, () => interrupt(signal, exitCodes[signal]));
  if (options.lifelineFd > 0) {
    const lifeline = new Socket({ fd: options.lifelineFd, readable: true, writable: false });
    const end = () => {
      if (!takenOver || !asked.signal.aborted) interrupt('the starter ended', exitCodes.SIGHUP);
    };
    lifeline.once('end', end).once('error', end).resume();
    lifeline.unref();
  }
  return {
    asked: asked.signal,
    insisted: insisted.signal,
    takeOver: () => (takenOver = true),
  };
}
