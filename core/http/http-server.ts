/**
 * The HTTP server under every API and under the router, with what all of them do against connections that mean no good:
 * limits on time and size, an answer in the contract's shape to what is no HTTP, and a bound on pipelining. That bound
 * is not for politeness: Node hands over all requests of a packet at once, thousands, and nothing else of the process
 * runs until each has begun. A few megabytes from a stranger would cost a host its session, and so its life.
 */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ErrorBody } from '../errors/holdfast-error.ts';

export interface HttpServerOptions {
  headerBytesMax: number;
  /** How long an idle connection is kept. */
  keepAliveMs: number;
  /** From the first byte of a request to its last; 0: no bound. */
  requestMs: number;
  /** From the connection, or the last answer, to the end of a head that has begun. Default 15 s. */
  headersMs?: number;
  /** For what is answered before there is a request that could have an id. */
  newRequestId: () => string;
  onRequest: RequestListener;
  /** Gets the requests that wait for `100 Continue`; without it, Node invites them. */
  onExpectation?: RequestListener;
  /** Which upgrades are emitted; the others are requests like any. Without it, all are passed over. */
  shouldUpgrade?: (request: IncomingMessage) => boolean;
}

/** Requests of one connection that may wait for their turn. */
const pipelinedMax = 32;
/** How long a client may take to notice that its connection has ended. */
const lingerMs = 1_000;

/** A server that does not listen yet. */
export function createHttpServer(options: HttpServerOptions): Server {
  const { headerBytesMax, newRequestId, onExpectation, shouldUpgrade, headersMs = 15_000 } = options;
  /** Responses that are under way, by connection. */
  const underWay = new WeakMap<Duplex, Set<ServerResponse>>();

  const bounded =
    (serve: RequestListener): RequestListener =>
    (request, response) => {
      const { socket } = request;
      if (socket.destroyed) return; // the rest of a packet that held too many
      let responses = underWay.get(socket);
      if (!responses) underWay.set(socket, (responses = new Set()));
      if (responses.size >= pipelinedMax) return void socket.destroy();
      responses.add(response);
      response.once('close', () => responses.delete(response));
      serve(request, response);
    };

  const server = process.getBuiltinModule('node:http').createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersMs,
      requestTimeout: options.requestMs,
      keepAliveTimeout: options.keepAliveMs,
      connectionsCheckingInterval: headersMs / 3,
      noDelay: true,
      ...(shouldUpgrade ? { shouldUpgradeCallback: shouldUpgrade } : {}),
    },
    bounded(options.onRequest),
  );
  if (onExpectation) server.on('checkContinue', bounded(onExpectation));
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    const answering = [...(underWay.get(socket) ?? [])].some(response => response.headersSent);
    if (!socket.writable || error.code === 'ECONNRESET' || answering) return void socket.destroy();
    answerOnSocket(socket, refusalOf(error.code, headerBytesMax), newRequestId());
  });
  return server;
}

/** An answer on a bare connection, which ends with it. */
export function answerOnSocket(socket: Duplex, error: ErrorBody, requestId: string): void {
  const body = JSON.stringify(error);
  socket.end(
    `HTTP/1.1 ${error.statusCode} ${error.error}\r\n` +
      'content-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\n` +
      `x-request-id: ${requestId}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
  // A client that keeps its half open would keep ours.
  if ('setTimeout' in socket) (socket as Socket).setTimeout(lingerMs, () => socket.destroy());
}

/** The client's own id if it is one that a log can hold. */
export function acceptableRequestId(value: string | string[] | undefined): string | null {
  return typeof value === 'string' && /^[\w.:@/+=-]{1,128}$/.test(value) ? value : null;
}

function refusalOf(code: string | undefined, headerBytesMax: number): ErrorBody {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return {
        statusCode: 431,
        error: 'Request Header Fields Too Large',
        code: 'HF_HEADERS_TOO_LARGE',
        message: `the header block must be at most ${headerBytesMax} bytes long`,
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return {
        statusCode: 408,
        error: 'Request Timeout',
        code: 'HF_REQUEST_INVALID',
        message: 'the request did not arrive in time',
      };
    default:
      return {
        statusCode: 400,
        error: 'Bad Request',
        code: 'HF_REQUEST_INVALID',
        message: 'this is not a well-formed HTTP/1.1 request',
      };
  }
}
