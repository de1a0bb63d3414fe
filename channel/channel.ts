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
import { createSystem, fromErrorBody, HoldfastError, toErrorBody, type Timers } from '#core';

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
export function createChannel(stream: Duplex, timers: Timers = createSystem().timers): Channel {
  const writer = new StreamMessageWriter(stream);
  const write = writer.write.bind(writer);
  // The library rethrows a failed write where nobody can catch it. Here it is the end of the connection, which every
  // waiting caller hears of anyway.
  writer.write = message => write(message).catch(end);
  const connection = createMessageConnection(new StreamMessageReader(stream), writer);
  let open = true;
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<void>();
  // Each caller has an entry of its own: racing all of them against one promise would keep every one that ever called.
  const callers = new Set<(error: HoldfastError) => void>();

  function end(): void {
    if (!open) return;
    open = false;
    // First, so that callers hear this and not the library's own rejection, which says nothing.
    const lost = new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the connection ended');
    for (const reject of callers) reject(lost);
    connection.dispose();
    stream.destroy();
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
      const { promise: failed, reject } = Promise.withResolvers<never>();
      callers.add(reject);
      const cancelDeadline = timers.after(
        timeoutMs,
        () => {
          reject(
            new HoldfastError('HF_COORDINATION_UNAVAILABLE', `no answer to ${method} within ${timeoutMs} ms`),
          );
        },
        { keepAlive: true },
      );
      try {
        return (await Promise.race([connection.sendRequest(method, params), failed])) as Result;
      } catch (error) {
        throw error instanceof ResponseError ? fromErrorBody(error.data, error.message) : error;
      } finally {
        cancelDeadline();
        callers.delete(reject);
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
      connection.onNotification(method, async (params: unknown) => {
        try {
          await handler(params as never);
        } catch {
          // A notification has nobody to tell of its failure, and must not bring the process down.
        }
      });
    },
    listen: () => connection.listen(),
    close: end,
  };
}
