/**
 * What a spare does while it waits: it loads what every component needs, and what those that answer HTTP need, so that its start is
 * left with the component itself. A host that is configured at once never gets here: it loads what it needs, when it needs it.
 */
import type { System } from '#core';

/** An agent that has something to run sends it within a few milliseconds of the hello. */
const idleMs = 150;

const allSteps: readonly (() => unknown)[] = [
  () => import('#ownership'),
  () => import('./calls/calls.ts'),
  () => import('./opening-ahead.ts'),
  () => import('./data-plane.ts'),
  // The first of each takes 20 ms and more: they bring in the runtime's Fetch.
  () => new Response('').text(),
  () => new Request('http://127.0.0.1/').headers.get('accept'),
];

/** From now on, until it is through or there is something to do. Never rejects. */
export function warmUpWhenIdle(system: System, isIdle: () => boolean, steps = allSteps): void {
  const next = (step: number) => {
    if (!isIdle() || step === steps.length) return;
    // One at a time, and what the agent says in between comes first.
    void Promise.resolve(steps[step]!()).then(() => system.timers.after(0, () => next(step + 1)));
  };
  system.timers.after(idleMs, () => next(0));
}
