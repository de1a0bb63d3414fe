/**
 * Between frames and plain HTTP, for tests: hosts that are written as HTTP servers, and requests to real hosts that are made with an
 * HTTP client. What frames say beside a request goes as headers here.
 */
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSystem, type ProcessId, type SessionId } from '#core';
import {
  createFrameServer,
  headerBlock,
  parseHeaderBlock,
  resetCode,
  type IncomingRequest,
  type OutgoingRequest,
  type ResponseReceiver,
} from '#frames';
import { createUpstreams } from '#ownership';

export const bridgeHeaders = {
  session: 'x-holdfast-session',
  resource: 'x-holdfast-resource',
  fence: 'x-holdfast-fence',
  /** In an answer: nothing was executed. */
  refused: 'x-holdfast-refused',
} as const;

const said = ['calls', 'alarm', 'open', 'question'];
const system = createSystem();

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A host that answers frames with what `listener` answers over HTTP; a 421 with `bridgeHeaders.refused` becomes a refusal. */
export async function serveFrames(options: {
  secret: string;
  serves: (sessionId: string) => boolean;
  listener: RequestListener;
}): Promise<{ uri: string; server: Server; leave(): Promise<void>; kill(): void }> {
  const inner = createServer({ keepAliveTimeout: 60_000 }, options.listener);
  const innerUri = await listening(inner);
  const frames = createFrameServer({
    system,
    ...options,
    onRequest: (request, session) => pass(request, session, innerUri),
  });
  const sockets = new Set<Duplex>();
  const server = createServer((_request, response) => void response.writeHead(404).end());
  server.on('upgrade', (request, socket, head) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    frames.accept(request, socket, head);
  });
  const uri = await listening(server);
  return {
    uri,
    server,
    leave: () => frames.leave(),
    kill() {
      server.close();
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      inner.close();
      inner.closeAllConnections();
    },
  };
}

function pass(incoming: IncomingRequest, sessionId: string, uri: string): void {
  const headers = [...parseHeaderBlock(incoming.headers), bridgeHeaders.session, sessionId];
  if (incoming.key !== '') {
    headers.push(bridgeHeaders.resource, incoming.key, bridgeHeaders.fence, String(incoming.fence));
  }
  if (!headers.includes('host')) headers.push('host', 'host');
  const whole = incoming.bodyIsWhole;
  if (!whole && !headers.includes('content-length')) headers.push('transfer-encoding', 'chunked');
  const { hostname, port } = new URL(uri);
  const request = httpRequest({
    hostname,
    port,
    method: incoming.method,
    path: incoming.target,
    headers,
    agent: false,
  });
  const broken = (text: string) => incoming.breakOff(text);
  request.on('error', error => broken(error.message));
  incoming.onAbort = () => request.destroy();
  if (incoming.body !== null) request.write(incoming.body);
  if (whole) request.end();
  else {
    incoming.receiver = {
      onData: chunk => request.write(chunk),
      onEnd: () => request.end(),
      onReset: () => request.destroy(),
    };
    request.on('drain', () => incoming.resume());
    incoming.resume();
  }
  request.on('response', response => {
    if (response.headers[bridgeHeaders.refused] !== undefined) {
      response.resume();
      return incoming.reset(resetCode.notOwner, 'refused');
    }
    const kept: string[] = [];
    for (let index = 0; index < response.rawHeaders.length; index += 2) {
      const name = response.rawHeaders[index]!.toLowerCase();
      if (
        !['connection', 'keep-alive', 'transfer-encoding'].includes(name) &&
        !name.startsWith('x-holdfast-')
      ) {
        kept.push(name, response.rawHeaders[index + 1]!);
      }
    }
    const head = { status: response.statusCode!, reason: '', headers: headerBlock(kept) };
    incoming.respond(head, null, false);
    incoming.onWritable = () => response.resume();
    response.on('data', (chunk: Buffer) => {
      if (!incoming.write(chunk)) response.pause();
    });
    response.on('end', () => incoming.end());
    response.on('error', error => broken(error.message));
  });
}

export interface Entrance {
  /** Where plain HTTP goes in. */
  readonly uri: string;
  close(): void;
}

/** Sends what comes by HTTP on to a host in frames. */
export async function openEntrance(host: { address: string; secret: string }): Promise<Entrance> {
  const upstreams = createUpstreams({ system, secret: host.secret, ownerTimeoutMs: 60_000 });
  const server = createServer((request, response) => {
    const sessionId = String(request.headers[bridgeHeaders.session] ?? 'none') as SessionId;
    const upstream = upstreams.get({ sessionId, processId: 'host' as ProcessId, address: host.address });
    const { resource, fence } = bridgeHeaders;
    const headers: string[] = [];
    let channel = '';
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      const name = request.rawHeaders[index]!.toLowerCase();
      const value = request.rawHeaders[index + 1]!;
      const line = said.find(each => name === `x-holdfast-${each}`);
      if (line) channel += `${line}: ${value}\r\n`;
      else if (!['connection', 'transfer-encoding'].includes(name)) headers.push(name, value);
    }
    const sent: OutgoingRequest = upstream.send(
      {
        method: request.method!,
        target: request.url!,
        key: String(request.headers[resource] ?? ''),
        fence: BigInt(String(request.headers[fence] ?? '0')),
        channel,
        headers: headerBlock(headers),
        body: null,
        more: true,
      },
      answering(request, response, () => sent),
    );
    request.on('data', (chunk: Buffer) => {
      if (!sent.write(chunk)) request.pause();
    });
    request.on('end', () => sent.end());
    response.on('close', () => {
      if (!response.writableFinished) sent.cancel();
    });
  });
  const uri = await listening(server);
  return {
    uri,
    close() {
      server.close();
      server.closeAllConnections();
      upstreams.destroy();
    },
  };
}

function answering(
  request: IncomingMessage,
  response: ServerResponse,
  sent: () => OutgoingRequest,
): ResponseReceiver {
  response.on('drain', () => sent().resume());
  response.on('error', () => {}); // shows as its close
  const refuse = (reason: string, code: string, text: string) => {
    response.writeHead(421, { [bridgeHeaders.refused]: reason }).end(JSON.stringify({ code, message: text }));
  };
  return {
    onHead({ status, reason, headers, body, end }) {
      response.writeHead(status, reason || undefined, parseHeaderBlock(headers.toString('latin1')));
      if (body !== null) response.write(Buffer.from(body));
      if (end) response.end();
      else response.flushHeaders();
    },
    onData: chunk => response.write(chunk),
    onEnd: () => void response.end(),
    onDrain: () => void request.resume(),
    onFailure({ type, text }) {
      if (type === 'not-owner' || type === 'refused' || type === 'unsent') refuse(type, 'HF_NOT_OWNER', text);
      else if (type === 'cycle') refuse(type, 'HF_CALL_CYCLE', text);
      else response.socket?.destroy();
    },
  };
}
