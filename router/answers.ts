/**
 * The router's own answers: errors in the contract's shape, whatever state the request is in. A client that is still
 * sending gets to read the answer: the connection is closed only after a moment of reading on, since closing with
 * unread data makes TCP throw the answer away.
 */
import { HoldfastError, toErrorBody, type ErrorBody, type ErrorCode, type System } from '#core';
import type { Exchange } from './exchange.ts';

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
  { exchange, requestId, system }: { exchange: Exchange; requestId: string; system: System },
  error: HoldfastError | StatedError,
): void {
  if (exchange.headSent) return exchange.destroy();
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  const closing = !mayGoOn(exchange);
  if (closing) exchange.closeAfter();
  const headers = ['content-type', 'application/json; charset=utf-8', 'content-length', String(body.length)];
  headers.push('x-request-id', requestId);
  if (error.statusCode === 503) headers.push('retry-after', '1');
  exchange.respond(error.statusCode, headers);
  if (!closing) {
    exchange.discardBody();
    return exchange.end(exchange.method === 'HEAD' ? undefined : body);
  }
  if (exchange.method === 'HEAD') exchange.flush();
  else exchange.write(body);
  const finish = () => {
    stop();
    exchange.discardBody();
    exchange.end();
  };
  const stop = system.timers.after(lingerMs, finish, { keepAlive: true });
  exchange.readBody({ onData() {}, onIdle() {}, onEnd: finish, onLost: finish }, lingerMs);
}

function mayGoOn({ received, announcedBytes }: Exchange): boolean {
  return received || (announcedBytes !== null && announcedBytes <= drainBytesMax);
}

function errorBody(error: HoldfastError | StatedError): ErrorBody {
  if (error instanceof HoldfastError) return toErrorBody(error);
  const { statusCode, code, message } = error;
  return {
    statusCode,
    error: process.getBuiltinModule('node:http').STATUS_CODES[statusCode] ?? 'Error',
    code,
    message,
  };
}
