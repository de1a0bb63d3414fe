/**
 * The one port of a host. A connection that changes to frames goes to the data plane and never to the REST API; the REST
 * API (fastify and all that) is built when somebody first calls it, which most hosts never see.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHttpServer, DEFAULTS, HoldfastError, type Logger, type System } from '#core';
import type { FrameServer } from '#frames';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface HostServerOptions {
  host: string;
  /** The first port to try; 0 for any free one. */
  firstPort: number;
  log: Logger;
  system: System;
  /** Takes the connections of routers and other hosts. */
  frames: FrameServer;
  /** Builds the REST API. */
  createApi: () => Promise<RequestHandler>;
}

export interface HostServer {
  /** `http://ip:port`. */
  readonly uri: string;
  /** Tells keep-alive clients to go after their next answer. */
  dismissClients(): void;
  /**
   * Ends the connections: those of routers and other hosts when they have agreed to send nothing new and have every answer, so that
   * no request is lost in a connection that ends. Idempotent.
   */
  close(): Promise<void>;
}

/** The router's limit for a client's head plus what it adds. */
const headerBytesMax = 64 * 1024;
/** Longer than routers keep idle connections, so that it is they who close them. */
const keepAliveMs = 72_000;
/** How long all of them may take for that: a frozen one must not keep the host. */
const farewellMs = 2_000;

/** @throws HoldfastError HF_CAPACITY when no port is free, HF_STATE_UNUSABLE when the address cannot be listened on */
export async function listen(options: HostServerOptions): Promise<HostServer> {
  const { frames } = options;
  let dismissing = false;
  let api: Promise<RequestHandler> | undefined;
  const server = createHttpServer({
    headerBytesMax,
    keepAliveMs,
    requestMs: 0, // the router decides how long an upload may take
    newRequestId: () => options.system.random.id(16),
    onRequest(request, response) {
      if (dismissing) response.setHeader('connection', 'close');
      void callApi(request, response);
    },
    shouldUpgrade: request => frames.offers(request),
  });
  server.on('upgrade', (request, socket, head) => frames.accept(request, socket, head));

  async function callApi(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      api ??= options.createApi();
      (await api)(request, response);
    } catch (error) {
      options.log.error({ err: error }, 'the REST API could not be built');
      api = undefined;
      response.writeHead(500).end();
    }
  }

  await listenOnFreePort(server, options);
  const { address, port, family } = server.address() as AddressInfo;
  const name = family === 'IPv6' ? `[${address}]` : address;
  let closed: Promise<void> | undefined;

  return {
    uri: `http://${name}:${port}`,
    dismissClients() {
      dismissing = true;
    },
    close() {
      closed ??= (async () => {
        const late = Promise.withResolvers<void>();
        const cancel = options.system.timers.after(farewellMs, late.resolve, { keepAlive: true });
        await Promise.race([frames.leave(), late.promise]);
        cancel();
        frames.destroy();
        await new Promise<void>(resolve => {
          server.close(() => resolve());
          server.closeIdleConnections();
          server.closeAllConnections();
        });
      })();
      return closed;
    },
  };
}

async function listenOnFreePort(server: Server, { host, firstPort }: HostServerOptions): Promise<void> {
  const lastPort = firstPort === 0 ? 0 : Math.min(firstPort + DEFAULTS.hostPortsTried - 1, 65_535);
  for (let port = firstPort; port <= lastPort; port += 1) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port, host }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      return;
    } catch (error) {
      server.removeAllListeners('listening').removeAllListeners('error');
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EADDRINUSE' && code !== 'EACCES') {
        throw new HoldfastError(
          'HF_STATE_UNUSABLE',
          `cannot listen on ${host}: ${(error as Error).message}`,
          {
            cause: error,
          },
        );
      }
    }
  }
  throw new HoldfastError('HF_CAPACITY', `no free port on ${host} from ${firstPort} to ${lastPort}`);
}
