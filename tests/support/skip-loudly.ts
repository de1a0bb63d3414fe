/** Tests that cannot run somewhere say so and why; in CI they fail instead, because nobody reads what CI skips. */
import type { Context } from 'mocha';

/** Ends the test (or hook) as skipped, with the reason on stderr. @throws Error in CI */
export function skipLoudly(context: Context, reason: string): never {
  if (process.env.CI) throw new Error(`cannot run here, and CI skips nothing: ${reason}`);
  process.stderr.write(`SKIPPED ${context.test?.fullTitle() ?? ''}: ${reason}\n`);
  return context.skip();
}
