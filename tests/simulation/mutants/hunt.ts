/** Looks for the first schedule that finds a mutant out. */
import { runWorker } from '../campaign.ts';
import type { Mutant } from './mutants.ts';

export interface Hunt {
  mutant: Mutant;
  /** Schedules run, the last of which found it; null: none did. */
  schedules: number | null;
  invariant: string | null;
  elapsedMs: number;
}

export async function hunt(mutant: Mutant, schedulesMax: number): Promise<Hunt> {
  const startedMs = performance.now();
  const { schedules, findings } = await runWorker({
    from: 1,
    to: 1 + schedulesMax,
    step: 1,
    untilFirst: true,
    execArgv: ['--import', import.meta.resolve('./hook.ts')],
    env: { HF_MUTANT: mutant.name },
  });
  const [finding] = findings;
  return {
    mutant,
    schedules: finding ? schedules : null,
    invariant: finding?.invariant ?? null,
    elapsedMs: performance.now() - startedMs,
  };
}
