/** The border to a package's code: whatever it throws or hands over becomes an error that says which step failed. */
import { HoldfastError } from '#core';

/** Runs code of a package. @throws HoldfastError HF_START_FAILED with the text of what it threw */
export async function foreign<Result>(phase: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof HoldfastError ? { code: cause.code } : {};
    throw new HoldfastError('HF_START_FAILED', `${phase} failed: ${text}`, {
      cause,
      details: { phase, cause: text, ...code },
    });
  }
}

/** Checks what a package created, before anything is called on it. */
export function mustHave(made: object, methods: string[], packageName: string): void {
  const lacking = methods.filter(
    name => typeof (made as Record<string, unknown> | null)?.[name] !== 'function',
  );
  if (lacking.length > 0) {
    throw new HoldfastError(
      'HF_START_FAILED',
      `what ${packageName} created lacks the method ${lacking.join(', ')}`,
      { details: { phase: 'create', lacking } },
    );
  }
}
