/** The one error class: a code from the table, a message for a person, details for a program. */
import { errorTable, type ErrorCode } from './table.ts';

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  /**
   * Packages bundle their own copy of this class, or put name and code on an Error; theirs are ours all the same, as long as we
   * know the code. Such an error may lack the getters: `toErrorBody` does without them.
   */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return (
      value instanceof Error &&
      value.name === 'HoldfastError' &&
      'code' in value &&
      typeof value.code === 'string' &&
      Object.hasOwn(errorTable, value.code)
    );
  }

  get statusCode(): number {
    return errorTable[this.code].statusCode;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }
}

/** The body of every error answer. `details` is left out when there are none. */
export interface ErrorBody {
  statusCode: number;
  error: string;
  code: string;
  message: string;
  details?: Readonly<Record<string, unknown>>;
}

export function toErrorBody(error: HoldfastError): ErrorBody {
  const { statusCode } = errorTable[error.code];
  const details: HoldfastError['details'] | undefined = error.details; // a foreign one may have none
  return {
    statusCode,
    error: process.getBuiltinModule('node:http').STATUS_CODES[statusCode] ?? 'Error',
    code: error.code,
    message: error.message,
    ...(details && Object.keys(details).length > 0 ? { details } : {}),
  };
}

/** The error that an `ErrorBody` from the wire stands for; unknown codes become HF_INTERNAL and keep the text. */
export function fromErrorBody(body: unknown, fallback: string): HoldfastError {
  const { code, message, details } = (body ?? {}) as { [Name in keyof ErrorBody]?: unknown };
  const known = typeof code === 'string' && Object.hasOwn(errorTable, code);
  return new HoldfastError(
    known ? (code as ErrorCode) : 'HF_INTERNAL',
    typeof message === 'string' ? message : fallback,
    { details: typeof details === 'object' ? { ...details } : {} },
  );
}
