/**
 * Errors in Holdfast's vocabulary, made without importing it: whatever has the name `HoldfastError` and a known code is
 * one. The codes are those of docs/errors.md that this component uses.
 */

const statusByCode = {
  HF_REQUEST_INVALID: 400,
  HF_SQL_ERROR: 400,
  HF_KEY_INVALID: 400,
  HF_NOT_FOUND: 404,
  HF_METHOD_NOT_ALLOWED: 405,
  HF_SQL_DEADLINE: 408,
  HF_REQUEST_TOO_LARGE: 413,
  HF_MEDIA_TYPE: 415,
  HF_NOT_OWNER: 421,
  HF_STATE_UNUSABLE: 500,
  HF_OUTCOME_UNKNOWN: 502,
  HF_CAPACITY: 503,
  HF_FENCED: 503,
  HF_STATE_MISSING: 503,
  HF_UNAVAILABLE: 503,
} as const;

export type ServiceErrorCode = keyof typeof statusByCode;

/** An error as plain data: what crosses from a SQL process to its host. */
export interface Failure {
  code: ServiceErrorCode;
  message: string;
  details: Record<string, unknown>;
}

export class ServiceError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ServiceErrorCode;
  readonly statusCode: number;
  readonly details: Record<string, unknown>;

  constructor(code: ServiceErrorCode, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.code = code;
    this.statusCode = statusByCode[code];
    this.details = details;
  }
}

export function toFailure(error: ServiceError): Failure {
  return { code: error.code, message: error.message, details: error.details };
}
