/** How a failed command tells it: `code: message`, how to mend it, and no stack unless asked. */
import { CommanderError } from 'commander';
import { describeProblem, HoldfastError, type ErrorCode, type Problem } from '#core';

export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** What the user can do about it; only where the message does not say it. */
const advice: Partial<Record<ErrorCode, string>> = {
  HF_UNAUTHENTICATED:
    'pass --token-file, or run the command in the folder of the cluster (the one with .holdfast/)',
  HF_FORBIDDEN:
    'use the token in .holdfast/token, or one with a wider scope: holdfast token create --scope admin',
  HF_NODE_UNREACHABLE: 'is the cluster running? Start it with: npm start (or: holdfast up)',
  HF_PACKAGE_CONFLICT: 'raise packageVersion in manifest.json, pack again, and deploy that',
  HF_PORT_IN_USE: 'stop the other program, or choose another port in the settings',
  HF_SETTINGS_CONFLICT: 'somebody else changed the settings at the same time; run the command again',
  HF_SETTINGS_INVALID:
    'mend the settings; editors complete them from core/settings/cluster-settings.schema.json',
  HF_ALREADY_RUNNING: 'use that one, or stop it first (Ctrl-C where it runs)',
  HF_USAGE: 'see: holdfast --help',
};

/** Errors of the operating system that the user can mend. */
const unusable = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOSPC',
  'EDQUOT',
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
]);

/** Writes the error and answers with the exit code. */
export function report(
  error: unknown,
  options: { stderr: { write(text: string): unknown }; verbose: boolean },
): number {
  const { stderr, verbose } = options;
  if (error instanceof CommanderError) {
    // commander has written its message, or the help that was asked for
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  const known = asHoldfastError(error);
  stderr.write(describeFailure(known));
  if (verbose && error instanceof Error) stderr.write(`${stackOf(error)}\n`);
  return known instanceof HoldfastError && known.code === 'HF_USAGE' ? EXIT.usage : EXIT.failure;
}

/** What the file system refuses is no defect of ours: it names the path, and what is wrong there. */
function asHoldfastError(error: unknown): unknown {
  const { code, path } = (error ?? {}) as NodeJS.ErrnoException;
  if (error instanceof HoldfastError || !path || !unusable.has(code ?? '')) return error;
  return new HoldfastError(
    'HF_STATE_UNUSABLE',
    `cannot use ${path}: ${(error as Error).message}; make it usable for this user, or name another place`,
    { cause: error },
  );
}

/** The lines for people. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof HoldfastError)) {
    const text = error instanceof Error ? error.message : String(error);
    return `HF_INTERNAL: ${text}\n  A defect in Holdfast; run it again with --verbose and report what it prints.\n`;
  }
  const problems = error.details.problems;
  const [heading = ''] = error.message.split(':');
  const lines = Array.isArray(problems)
    ? [
        // Some messages are nothing but the problems, which follow.
        heading.startsWith('$') ? `${error.code}:` : `${error.code}: ${heading}:`,
        ...(problems as Problem[]).map(problem => `  ${describeProblem(problem)}`),
      ]
    : [`${error.code}: ${error.message}`];
  const hint = advice[error.code];
  if (hint) lines.push(`  ${hint}`);
  return `${lines.join('\n')}\n`;
}

function stackOf(error: Error): string {
  const own = error.stack ?? String(error);
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}
