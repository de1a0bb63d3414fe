/** The border to a package's code: whatever it throws or hands over becomes an error that says which step failed. */
import { HoldfastError } from '#core';

/** Runs code of a package. @throws HoldfastError HF_START_FAILED with the text of what it threw */
export async function foreign<Result>(phase: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (cause) {
    const text = textOf(cause);
    const code = cause instanceof HoldfastError ? { code: cause.code } : {};
    throw new HoldfastError('HF_START_FAILED', `${phase} failed: ${text}`, {
      cause,
      details: { phase, cause: text, ...code },
    });
  }
}

/** The text of what was thrown, which may be anything: also what has none. */
export function textOf(cause: unknown): string {
  try {
    return cause instanceof Error ? String(cause.message) : String(cause);
  } catch {
    return 'something was thrown that has no text'; // its own toString threw, or it has none
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
