/**
 * One connection to Redis, from its beginning to its end: nothing here reconnects. A new connection is a new client, so that no command can
 * ever go out on a connection that has not attached, whatever the library would resend. It asks for RESP3, where commands and
 * pushed messages share the connection and keep their order: what is asked after a subscription is answered after it.
 *
 * ioredis's errors hold the arguments of the command, the handshake's password among them, and addresses. So none of them leaves this
 * file: what is told of a failure is its code.
 */
import { isIP } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import { HoldfastError, type System } from '#core';
import { attachScript } from './scripts/attach.lua.ts';
import { verdictOf, type ScriptVerdict } from './scripts/codes.ts';
import type { Script } from './scripts/script.ts';

export interface LinkOptions {
  url: string;
  prefix: string;
  /** Longest time to live of a session, milliseconds. */
  sessionTtlMs: number;
  system: System;
  /** A clock that never goes back and counts suspended time, milliseconds. */
  steadyMs: () => number;
}

/**
 * Why a call brought no result: what the script decided; `error`: Redis would not run it, and nothing was changed; `late`: no answer in time, and
 * the connection was given up; `cut off`: it ended before the answer. With the last two nobody knows whether it was executed.
 */
export type FailureKind = ScriptVerdict | 'error' | 'late' | 'cut off';

export class CallFailure extends Error {
  readonly kind: FailureKind;
  /** The nonce under which the script was asked. */
  readonly nonce: string;

  /** `reason` names neither addresses nor arguments. */
  constructor(kind: FailureKind, reason: string, nonce = '') {
    super(reason);
    this.kind = kind;
    this.nonce = nonce;
  }
}

export interface Link {
  /** Of the incarnation that this connection is attached to. */
  readonly nonce: string;
  /** @throws CallFailure */
  call(script: Script, args: readonly (string | Buffer)[]): Promise<unknown>;
  /** Attaches anew, after `attach` was the verdict. @throws CallFailure */
  attach(): Promise<void>;
  /** Whoever calls next is asked after the subscription. A failure ends the connection. */
  subscribe(channel: string): void;
  readonly channels: Channels;
  /** Whether the connection has ended; `ended` resolves then. */
  readonly isOver: boolean;
  readonly ended: Promise<void>;
  close(): void;
}

/** Not under a database's keys but in one space for all databases of a Redis: their names say which. */
export interface Channels {
  readonly events: string;
  readonly documents: string;
}

/** How long one command, and how long a connection with everything that belongs to it, may take. */
const commandMs = 1_500;
const connectMs = 2_000;

/** Connects and attaches. @throws CallFailure */
export async function openLink(
  options: LinkOptions,
  onMessage: (channel: string, text: string) => void,
): Promise<Link> {
  const { system, steadyMs, prefix } = options;
  const client = new Redis(clientOptions(options.url));
  const { promise: ended, resolve: resolveEnded } = Promise.withResolvers<void>();
  let isOver = false;
  const end = () => {
    isOver = true;
    resolveEnded();
  };
  let lastError = 'no answer';
  client.on('error', error => (lastError = reasonOf(error)));
  client.on('end', end);
  client.on('message', onMessage);
  const channels = channelsOf(options);
  const keys = [`${prefix}meta`, channels.events, channels.documents];
  let nonce = '';
  /** The store's time was at least this, when our clock showed that. */
  let time = { storeMs: 0, steadyMs: 0 };
  const seen = (storeMs: number) => (time = { storeMs, steadyMs: steadyMs() });

  const close = () => {
    client.disconnect();
    end(); // a client that never connected does not say that it ended
  };

  /** NOSCRIPT says that nothing was executed: then the script itself is sent, once. */
  async function evaluate(script: Script, args: readonly (string | Buffer)[]): Promise<unknown> {
    try {
      return await client.evalsha(script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!/^NOSCRIPT\b/.test((error as Error).message)) throw error;
      return client.eval(script.lua, keys.length, ...keys, ...args);
    }
  }
  async function run(script: Script, args: readonly (string | Buffer)[], under: string): Promise<unknown> {
    try {
      return await evaluate(script, args);
    } catch (error) {
      const { name, message } = error as Error;
      if (name === 'ReplyError') {
        const verdict = verdictOf(message);
        if (verdict !== null) throw new CallFailure(verdict, 'the script refused', under);
        const code = codeOf(message);
        // Not the server, or not the connection, that it was: a new one finds out.
        if (wrongServer.has(code)) close();
        throw new CallFailure('error', code, under);
      }
      const late = message === 'Command timed out';
      close();
      throw late
        ? new CallFailure('late', 'no answer in time', under)
        : new CallFailure('cut off', reasonOf(error), under);
    }
  }

  const link: Link = {
    get nonce() {
      return nonce;
    },
    channels,
    get isOver() {
      return isOver;
    },
    ended,
    async call(script, args) {
      const under = nonce;
      const confirmedMs = Math.floor(time.storeMs + steadyMs() - time.steadyMs);
      const answer = await run(script, [under, String(confirmedMs), ...args], under);
      if (script.tellsTime && under === nonce) seen(Number((answer as string[])[0]));
      return answer;
    },
    async attach() {
      const answer = await run(attachScript, [system.random.id(20), String(options.sessionTtlMs)], nonce);
      const [attachedTo, storeMs] = answer as [string, string];
      seen(Number(storeMs));
      nonce = attachedTo;
    },
    subscribe(channel) {
      client.subscribe(channel).catch(close);
    },
    close,
  };

  const cancel = system.timers.after(connectMs, close, { keepAlive: true });
  try {
    await Promise.race([client.connect(), ended.then(() => Promise.reject(new Error('ended')))]);
    await link.attach();
    return link;
  } catch (error) {
    close();
    throw error instanceof CallFailure ? error : new CallFailure('cut off', lastError);
  } finally {
    cancel();
  }
}

function clientOptions(url: string) {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return {
    host,
    port: Number(port || 6379),
    db: Number(pathname.slice(1) || 0),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    // An address is no name that a certificate could be asked for.
    ...(protocol === 'rediss:' ? { tls: isIP(host) ? {} : { servername: host } } : {}),
    protocol: 3,
    replyMapping: 'legacy',
    lazyConnect: true,
    connectTimeout: connectMs,
    commandTimeout: commandMs,
    // Fails at once, never resends, never reconnects by itself.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    retryStrategy: () => null,
  } satisfies RedisOptions;
}

function channelsOf({ url, prefix }: LinkOptions): Channels {
  const database = new URL(url).pathname.slice(1) || '0';
  return { events: `${prefix}events@${database}`, documents: `${prefix}documents@${database}` };
}

const wrongServer: ReadonlySet<string> = new Set(['READONLY', 'LOADING', 'MASTERDOWN', 'NOAUTH']);

/** A word for what happened, without addresses and arguments. */
function reasonOf(error: unknown): string {
  const { name, code, message } = error as { name?: unknown; code?: unknown; message?: unknown };
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code)) return code;
  return name === 'ReplyError' && typeof message === 'string' ? codeOf(message) : 'the connection ended';
}

/** Redis's errors begin with a code, which is all of them that is told. */
const codeOf = (message: string) => /^[A-Z]{2,}\b/.exec(message)?.[0] ?? 'ERR';

export function unavailable(reason: string): HoldfastError {
  return new HoldfastError(
    'HF_COORDINATION_UNAVAILABLE',
    `the Redis of the directory cannot be asked: ${reason}`,
  );
}
