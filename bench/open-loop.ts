/**
 * Requests at a fixed rate, sent whether or not the earlier ones have been answered: a system that stands still for 50 ms shows it in
 * every request of those 50 ms, and cannot slow its own load down. Bounded in number and in what is open at once.
 */
import { Pool } from 'undici';

export interface Answer {
  path: string;
  sentMs: number;
  /** When the whole answer was there, or the failure. */
  doneMs: number;
  /** 0: the connection failed. */
  status: number;
  /** Process that answered. */
  owner: string;
}

export interface OpenLoop {
  readonly sent: number;
  /** What has been answered since the start, in the order of the answers. */
  readonly answers: readonly Answer[];
  /** Resolves to the first answer from now on that fits. @throws after `withinMs` */
  next(what: string, fits: (answer: Answer) => boolean, withinMs?: number): Promise<Answer>;
  /** Stops sending; resolves when all is answered. Idempotent. */
  stop(): Promise<void>;
}

const openMax = 2_000;

/** GET on each path in turn, one every `everyMs`; at most `requestsMax` in all. */
export function startOpenLoop(
  origin: string,
  options: { paths: readonly string[]; everyMs: number; requestsMax: number },
): OpenLoop {
  const pool = new Pool(origin, { connections: 256, pipelining: 1, headersTimeout: 60_000 });
  const { paths, everyMs, requestsMax } = options;
  const answers: Answer[] = [];
  const listeners = new Set<(answer: Answer) => void>();
  const open = new Set<Promise<void>>();
  let sent = 0;
  let stopped = false;
  let ended: Promise<void> | null = null;

  async function ask(path: string): Promise<void> {
    const sentMs = performance.now();
    let status = 0;
    let owner = '';
    try {
      const response = await pool.request({ path, method: 'GET' });
      await response.body.dump();
      status = response.statusCode;
      owner = String(response.headers['x-holdfast-owner'] ?? '');
    } catch {
      // The connection broke: counted as failed by its status 0.
    }
    const answer = { path, sentMs, doneMs: performance.now(), status, owner };
    answers.push(answer);
    for (const listener of listeners) listener(answer);
  }

  const running = (async () => {
    const startMs = performance.now();
    while (!stopped && sent < requestsMax) {
      const due = Math.floor((performance.now() - startMs) / everyMs);
      while (sent < due && sent < requestsMax && open.size < openMax) {
        const request = ask(paths[sent++ % paths.length]!).finally(() => open.delete(request));
        open.add(request);
      }
      await new Promise(resolve => setTimeout(resolve, Math.min(everyMs, 1)));
    }
  })();

  return {
    get sent() {
      return sent;
    },
    answers,
    next(what, fits, withinMs = 30_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => end(() => reject(new Error(`not within ${withinMs} ms: ${what}`))),
          withinMs,
        );
        const listener = (answer: Answer) => {
          if (fits(answer)) end(() => resolve(answer));
        };
        const end = (settle: () => void) => {
          clearTimeout(timer);
          listeners.delete(listener);
          settle();
        };
        listeners.add(listener);
      });
    },
    stop() {
      stopped = true;
      return (ended ??= running.then(() => Promise.all(open)).then(() => pool.close()));
    },
  };
}

/** Those that were not answered 200. */
export function failed(answers: readonly Answer[]): Answer[] {
  return answers.filter(({ status }) => status !== 200);
}
