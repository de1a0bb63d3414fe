/** Shows the steps of a start while they go on: a live list on a terminal, one line for each finished step elsewhere. */
import type { System } from '#core';

/** Something that goes on already; the progress only watches it. */
export interface Step {
  title: string;
  done: Promise<unknown>;
  /** What it is doing at the moment, if it tells. */
  detail?: () => string;
}

/** Resolves when all steps are done; rejects like the first that fails. */
export async function showProgress(
  steps: readonly Step[],
  output: { write(text: string): unknown; isTTY?: boolean },
  system: System,
): Promise<void> {
  const all = Promise.all(steps.map(step => step.done));
  const startedAtMs = system.clock.monotonicMs();
  all.catch(() => {}); // whoever is shown the steps hears of it
  if (output.isTTY) await showList(steps, all, system);
  else await Promise.all(steps.map(showLine));

  async function showLine(step: Step): Promise<void> {
    await step.done;
    output.write(`${step.title}: ready after ${secondsSince(startedAtMs)} s\n`);
  }

  function secondsSince(thenMs: number): string {
    return ((system.clock.monotonicMs() - thenMs) / 1000).toFixed(1);
  }
}

async function showList(steps: readonly Step[], all: Promise<unknown>, system: System): Promise<void> {
  const { Listr } = await import('listr2');
  const list = new Listr(
    steps.map(step => ({
      title: step.title,
      task: async (_context: unknown, task: { output: string }) => {
        const cancel = system.timers.every(100, () => {
          const detail = step.detail?.();
          if (detail) task.output = detail;
        });
        // The list stops at the first failure: what waits behind it would never come.
        await Promise.race([step.done, all.then(() => {})]).finally(cancel);
      },
    })),
    { concurrent: true, exitOnError: true, registerSignalListeners: false },
  );
  await list.run();
}
