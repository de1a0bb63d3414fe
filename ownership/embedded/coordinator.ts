/**
 * The coordinator: the one small process that owns the embedded store's file and serves leases, directory and documents
 * behind a Unix socket. Clients hold no lock, so a frozen one stops nobody. All its state is in the file; it may be killed at
 * any moment and started again, and clients go on (sessions live until their time, which goes on counting meanwhile).
 *
 * Order at start: folder, file and its lock, and only then the socket, because listening replaces a socket file that
 * nobody answers on. At the end the reverse, so that whoever holds the lock is the only one who ever touches the socket.
 */
import { listenForChannels, type Channel } from '#channel';
import { createSteadyClock, HoldfastError, LIMITS, type Logger, type System } from '#core';
import { readBootId } from '#leases';
import { Directory } from '../directory/directory.ts';
import { silentLog } from '../silent-log.ts';
import type { Params } from './arguments.ts';
import { isCorruption } from './database.ts';
import { createGroupCommit } from './group-commit.ts';
import { openLongestTtl } from './longest-ttl.ts';
import { createMethods } from './methods.ts';
import { coordinationPaths, prepareDatabaseFile, prepareFolder, setAside, unusable } from './state-folder.ts';
import { openStore, type CoordinationStore } from './store.ts';
import { createSubscribers } from './subscribers.ts';

export interface CoordinatorOptions {
  stateRoot: string;
  system: System;
  log?: Logger;
  /** Ends by itself when no client has been connected for so long; without it, only by `close`. */
  lingerMs?: number;
  /** Names this boot of the machine; injected by tests. */
  bootId?: string;
}

export interface Coordinator {
  readonly socketPath: string;
  /** Resolves when it has ended; rejects when it had to, because the store could not be written any more. */
  readonly closed: Promise<void>;
  /** Stops listening, commits what is pending, lets go of the file. Idempotent. */
  close(): Promise<void>;
}

/** How long the first client may take. */
const firstClientMs = 10_000;

/** The boot clock ticks in 10 ms, so two processes may differ by as much about what time it is. */
const clockTickMs = 20;

/**
 * Starts serving `<stateRoot>/coordination`.
 * @throws HoldfastError HF_ALREADY_RUNNING when another coordinator has it, HF_STATE_UNUSABLE when folder or file cannot be used
 */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { system, lingerMs } = options;
  const log = options.log ?? silentLog;
  const paths = coordinationPaths(options.stateRoot);
  const nowMs = createSteadyClock(system.clock);
  await prepareFolder(paths.folder);
  const bootId = options.bootId ?? readBootId();
  const longestTtl = openLongestTtl(paths.longestTtl, bootId);
  const longestMs = longestTtl.ttlMs ?? LIMITS.sessionTtlMsMax;
  const collectMs = longestMs === 0 ? 0 : longestMs + clockTickMs;
  const store = await openOrReplace(paths.database, { nowMs, system, log, bootId, collectMs });
  const { collectUntilMs } = store;
  const sessions = store.loadSessions();
  try {
    // What this one found missing, the next would miss too: hosts of before the loss are still out there.
    const collects = collectUntilMs !== null && nowMs() < collectUntilMs;
    longestTtl.see(
      sessions.reduce((longest, { ttlMs }) => Math.max(longest, ttlMs), collects ? collectMs : 0),
    );
  } catch (cause) {
    store.close();
    throw unusable(
      paths.longestTtl,
      cause,
      'Check that the disk has space and that this user may write there.',
    );
  }
  const directory = new Directory(
    {
      nextFence: () => store.fences.next(),
      fenceAbove: above => store.fences.above(above),
      fenceSeen: fence => store.fences.seen(fence),
      newSessionId: () => system.random.id(20) as ReturnType<Directory['openSession']>['sessionId'],
      loadClaim: (pool, key) => store.loadClaim(pool, key),
    },
    { sessions, collectUntilMs },
  );
  const subscribers = createSubscribers();
  const commit = createGroupCommit({
    store,
    directory,
    publish(events) {
      subscribers.publishEvents(events);
      watchExpiry();
    },
    onFailure: error => void end(error),
  });
  const methods = createMethods({
    store,
    directory,
    commit,
    subscribers,
    nowMs,
    wallMs: () => system.clock.wallMs(),
    sessionTtl: ttlMs => longestTtl.see(ttlMs),
  });

  // Expiry ---------------------------------------------------------------------------------------------------------
  let cancelExpiry = () => {};
  function watchExpiry(): void {
    cancelExpiry();
    const nextMs = directory.expire(nowMs());
    if (directory.hasOutput) void commit.run(() => {}).catch(() => {}); // a failure has been told to onFailure
    if (nextMs !== null) cancelExpiry = system.timers.after(Math.max(1, nextMs - nowMs()), watchExpiry);
  }

  // Clients --------------------------------------------------------------------------------------------------------
  const clients = new Set<Channel>();
  let cancelLinger = () => {};
  function linger(ms: number): void {
    cancelLinger();
    if (lingerMs === undefined || clients.size > 0) return;
    cancelLinger = system.timers.after(ms, () => {
      log.info({ lingerMs: ms }, 'no client left, ending');
      void end(null);
    });
  }
  function serve(channel: Channel): void {
    const subscriber = subscribers.add(channel);
    for (const [name, method] of Object.entries(methods)) {
      channel.handle(name, (params: Params | null) => {
        // Whoever only looks whether somebody answers is not a client yet.
        if (name !== 'ping' && !clients.has(channel)) {
          clients.add(channel);
          cancelLinger();
        }
        return method(params ?? {}, subscriber);
      });
    }
    void channel.closed.then(() => {
      if (clients.delete(channel)) linger(lingerMs ?? 0);
    });
    channel.listen();
  }

  // Life -----------------------------------------------------------------------------------------------------------
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();
  closed.catch(() => {}); // only those who wait for it want to hear it
  let ending: Promise<void> | null = null;
  let listening: Awaited<ReturnType<typeof listenForChannels>> | undefined;
  function end(failure: unknown): Promise<void> {
    ending ??= (async () => {
      cancelExpiry();
      cancelLinger();
      await listening?.close();
      let cause = failure;
      if (cause === null) {
        try {
          commit.flush();
        } catch (error) {
          cause = error;
        }
      }
      store.close();
      if (cause === null) return resolve();
      log.error({ err: describe(cause) }, 'the store failed, ending');
      if (isCorruption(cause)) await reportSetAside(paths.database, log);
      reject(cause as Error);
    })();
    return ending;
  }

  try {
    listening = await listenForChannels(paths.socket, serve);
  } catch (error) {
    store.close();
    throw error;
  }
  watchExpiry();
  linger(Math.max(firstClientMs, lingerMs ?? 0));
  log.info(
    {
      pid: process.pid,
      socketPath: paths.socket,
      rebooted: store.rebooted,
      lastFence: store.fences.last.toString(),
      ...(directory.collects(nowMs()) ? { collectsForMs: Math.ceil(collectUntilMs! - nowMs()) } : {}),
    },
    'coordinator started',
  );
  return { socketPath: paths.socket, closed, close: () => end(null) };
}

interface OpenPorts {
  nowMs: () => number;
  system: System;
  log: Logger;
  bootId: string;
  collectMs: number;
}

/** Opens the store; a corrupt one is set aside, loudly, and a new one goes on far above all fences of the old. */
async function openOrReplace(
  path: string,
  { nowMs, system, log, bootId, collectMs }: OpenPorts,
): Promise<CoordinationStore> {
  for (let attempt = 1; ; attempt++) {
    const found = await prepareDatabaseFile(path);
    const lost = found === 'new' ? null : { epochWallMs: system.clock.wallMs(), collectMs };
    try {
      const store = await openStore({ path, nowMs, lost, bootId });
      store.loadSessions(); // reads what a start needs, so that damage shows here
      return store;
    } catch (error) {
      if (!isCorruption(error) || attempt > 1) throw error;
      await reportSetAside(path, log);
    }
  }
}

async function reportSetAside(path: string, log: Logger): Promise<void> {
  const movedTo = await setAside(path);
  log.error(
    { path, movedTo },
    'THE COORDINATION STORE WAS CORRUPT and has been set aside: sessions, claims, leases and documents start anew, ' +
      'fences go on far above all that were given out, and no key moves until its host had the time to keep it',
  );
}

function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const code = error instanceof HoldfastError ? error.code : undefined;
  return { code, message: error.message, stack: error.stack };
}
