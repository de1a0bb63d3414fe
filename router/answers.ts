/**
 * The router's own answers: errors in the contract's shape, whatever state the request is in. A client that is still
 * sending gets to read the answer: the connection is closed only after a moment of reading on, since closing with
 * unread data makes TCP throw the answer away.
 */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { HoldfastError, toErrorBody, type ErrorBody, type ErrorCode, type System } from '#core';

/** An error whose status differs from its code's usual one. */
export interface StatedError {
  statusCode: number;
  code: ErrorCode;
  message: string;
}

/** How long a client that does not stop sending is listened to after its answer. */
const lingerMs = 1_000;
/** The rest of a body this small is read, and the connection lives on. */
const drainBytesMax = 64 * 1024;

export function answerError(
  exchange: { request: IncomingMessage; response: ServerResponse; requestId: string; system: System },
  error: HoldfastError | StatedError,
): void {
  const { request, response, requestId, system } = exchange;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  const closing = mayGoOn(request);
  response.writeHead(error.statusCode, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    'x-request-id': requestId,
    ...(error.statusCode === 503 ? { 'retry-after': '1' } : {}),
    ...(closing ? { connection: 'close' } : {}),
  });
  const payload = request.method === 'HEAD' ? Buffer.alloc(0) : body;
  request.resume(); // whatever still comes is thrown away
  if (!closing) {
    response.end(payload);
    return;
  }
  response.write(payload);
  const finish = () => {
    stop();
    request.off('end', finish).off('close', finish);
    response.end();
  };
  const stop = system.timers.after(lingerMs, finish, { keepAlive: true });
  request.on('end', finish).on('close', finish);
}

/** The length of the body that the request announces: 0 for none, null when it is chunked. */
export function announcedBytes(request: IncomingMessage): number | null {
  if (request.headers['transfer-encoding'] !== undefined) return null;
  return Number(request.headers['content-length'] ?? 0);
}

function mayGoOn(request: IncomingMessage): boolean {
  const announced = announcedBytes(request);
  return !request.complete && (announced === null || announced > drainBytesMax);
}

function errorBody(error: HoldfastError | StatedError): ErrorBody {
  if (error instanceof HoldfastError) return toErrorBody(error);
  const { statusCode, code, message } = error;
  return { statusCode, error: STATUS_CODES[statusCode] ?? 'Error', code, message };
}
