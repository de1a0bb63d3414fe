/**
 * Two processes of one machine that call each other over a Unix socket: JSON-RPC 2.0 both ways, with deadlines and
 * Holdfast's errors. The library frames and matches messages; here live the deadline, the error mapping and the end of
 * the connection. A socket's folder is 0700, so whoever can connect is the same user.
 */
import type { Duplex } from 'node:stream';
import {
  createMessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import { fromErrorBody, HoldfastError, toErrorBody } from '#core';

export interface Channel {
  /**
   * Calls the other side.
   * @throws HoldfastError what the other side threw, or HF_COORDINATION_UNAVAILABLE when the connection ends or the
   * deadline passes first (the call may or may not have been executed then)
   */
  request<Result>(method: string, params: unknown, options?: { timeoutMs?: number }): Promise<Result>;
  /** Tells the other side; no answer. Does nothing once the channel is closed. */
  notify(method: string, params: unknown): void;
  /** Answers a method that the other side calls or notifies. Register before `listen`. */
  handle(method: string, handler: (params: never) => unknown): void;
  /** Starts reading: after all handlers are in place. */
  listen(): void;
  /** Resolves when the connection has ended, whoever ended it. Never rejects. */
  readonly closed: Promise<void>;
  close(): void;
}

const defaultTimeoutMs = 5_000;

/** Speaks over a connected stream. The channel owns the stream from now on. */
export function createChannel(stream: Duplex): Channel {
  const connection = createMessageConnection(
    new StreamMessageReader(stream),
    new StreamMessageWriter(stream),
  );
  let open = true;
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<void>();
  const { promise: lost, reject: rejectLost } = Promise.withResolvers<never>();
  lost.catch(() => {}); // only those who race against it want to hear it

  function end(): void {
    if (!open) return;
    open = false;
    connection.dispose();
    stream.destroy();
    rejectLost(new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the connection ended'));
    resolveClosed();
  }
  stream.on('error', end); // a broken pipe is an end like any other
  stream.on('close', end);
  stream.on('end', end);
  connection.onError(end);

  return {
    closed,
    async request<Result>(method: string, params: unknown, options: { timeoutMs?: number } = {}) {
      if (!open) throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the connection has ended');
      const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
      const { promise: late, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => {
        reject(
          new HoldfastError('HF_COORDINATION_UNAVAILABLE', `no answer to ${method} within ${timeoutMs} ms`),
        );
      }, timeoutMs);
      try {
        return (await Promise.race([connection.sendRequest(method, params), lost, late])) as Result;
      } catch (error) {
        throw error instanceof ResponseError ? fromErrorBody(error.data, error.message) : error;
      } finally {
        clearTimeout(timer);
      }
    },
    notify(method, params) {
      if (open) connection.sendNotification(method, params).catch(end);
    },
    handle(method, handler) {
      connection.onRequest(method, async (params: unknown) => {
        try {
          return (await handler(params as never)) ?? null;
        } catch (error) {
          const known =
            error instanceof HoldfastError
              ? error
              : new HoldfastError('HF_INTERNAL', String(error), { cause: error });
          return new ResponseError(-32000, known.message, toErrorBody(known));
        }
      });
      connection.onNotification(method, (params: unknown) => {
        void handler(params as never);
      });
    },
    listen: () => connection.listen(),
    close: end,
  };
}
