/** Errors in Holdfast's vocabulary: the host answers them with the status of their code. */
type Code =
  | 'HF_CAPACITY'
  | 'HF_MEDIA_TYPE'
  | 'HF_NOT_FOUND'
  | 'HF_REPLY_TIMEOUT'
  | 'HF_REQUEST_INVALID'
  | 'HF_REQUEST_TOO_LARGE'
  | 'HF_UNAVAILABLE';

export function refuse(code: Code, message: string, details: object = {}): Error {
  return Object.assign(new Error(message), { name: 'HoldfastError', code, details });
}
