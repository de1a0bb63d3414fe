/**
 * Errors in Holdfast's vocabulary, made without importing it. Whatever is none of these is taken as passing (a server that is away, a
 * busy file) and tried again soon; these are tried again seldom, because somebody has to do something first.
 */

/** REFUSED: it cannot begin like this (settings, rights, schemas). HALTED: it went well until now. */
export type ProblemCode = 'HF_REPLICATION_REFUSED' | 'HF_REPLICATION_HALTED';

export class ReplicationProblem extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ProblemCode;
  readonly statusCode = 503;
  readonly details: Record<string, unknown>;

  constructor(code: ProblemCode, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export function refused(message: string, details: Record<string, unknown> = {}): ReplicationProblem {
  return new ReplicationProblem('HF_REPLICATION_REFUSED', message, details);
}

export function halted(message: string, details: Record<string, unknown> = {}): ReplicationProblem {
  return new ReplicationProblem('HF_REPLICATION_HALTED', message, details);
}

export const codeOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
