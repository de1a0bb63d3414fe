/**
 * A component that keeps a list for each key in a file, and clients that write to it, read it back and know what must be in it. What a
 * planned change may not do is all seen from here: a failed request, a lost or doubled entry, a fence that goes down, a long wait.
 */
import { randomUUID } from 'node:crypto';
import { makePackage } from './make-package.ts';

/** What the component answers to GET (reads) and POST (appends its body first). */
export interface LedgerView {
  version: string;
  owner: string;
  node: string;
  instance: string;
  fence: string;
  hadOwner: boolean;
  entries: string[];
}

/**
 * @param start what a copy does when it is started, in JavaScript with `context` at hand
 *
 * Its files lie in `settings.directory` (one that several machines share, say), else in the data directory.
 * In the query: `delayMs` waits before anything is done, `chunks` answers with so many numbered lines, one each 100 ms, `alarmMs` sets an alarm, `call` is a JSON list of `[instance, key]`: the first
 * is called with the rest of the list, and its answer passed on as it is. An alarm appends `alarm by <processId>`.
 */
export function ledgerPackage(version = '1.0.0', { start = '' }: { start?: string } = {}): Buffer {
  return makePackage(
    {
      packageName: 'ledger',
      packageVersion: version,
      kind: 'component',
      contentRoot: 'content',
      main: 'index.js',
    },
    {
      'content/index.js': `
        import { appendFileSync, existsSync, readFileSync } from 'node:fs';
        import { join } from 'node:path';
        import { ReadableStream } from 'node:stream/web';
        function lines(count) {
          let sent = 0;
          return new ReadableStream({
            async pull(controller) {
              await new Promise(resolve => setTimeout(resolve, 100));
              controller.enqueue(new TextEncoder().encode(++sent + '\\n'));
              if (sent === count) controller.close();
            },
          });
        }
        export default function create(context) {
          return {
            async start() {
              ${start}
            },
            async stop() {},
            async openResource(resource) {
              const file = join(context.settings.directory ?? context.dataDirectory, encodeURIComponent(resource.key));
              const entries = existsSync(file) ? readFileSync(file, 'utf8').split('\\n').slice(0, -1) : [];
              const append = entry => {
                resource.assertOwned();
                appendFileSync(file, entry + '\\n');
                entries.push(entry);
              };
              return {
                async fetch(request) {
                  const query = Object.fromEntries(new URL(request.url).searchParams);
                  if (query.delayMs) await new Promise(resolve => setTimeout(resolve, Number(query.delayMs)));
                  if (query.chunks) return new Response(lines(Number(query.chunks)));
                  const [hop, ...further] = JSON.parse(query.call ?? '[]');
                  const body = request.method === 'POST' ? await request.text() : null;
                  if (hop) {
                    const path = hop[1] + '?' + new URLSearchParams({ call: JSON.stringify(further) });
                    return context.resource(...hop).fetch(new URL(path, 'http://any'), { method: request.method, body });
                  }
                  if (body !== null) append(body);
                  if (query.alarmMs) await resource.alarm(new Date(Date.now() + Number(query.alarmMs)));
                  return Response.json({
                    version: ${JSON.stringify(version)}, owner: context.processId, node: context.nodeName, instance: context.instanceId,
                    fence: String(resource.fence), hadOwner: resource.hadOwner, entries,
                  });
                },
                async alarm() {
                  append('alarm by ' + context.processId);
                },
                async close() {},
              };
            },
          };
        }`,
    },
  );
}

export interface LedgerReport {
  total: number;
  /** Every answer that was not 200, and every answer that was wrong: what, of which key. */
  problems: string[];
  /** The slowest request. */
  longestMs: number;
  p99Ms: number;
  /** By key, what every later read must show, in this order. */
  written: Map<string, string[]>;
}

export interface LedgerClients {
  count(): number;
  /** Resolves when so many more requests have been answered; rejects when that takes a minute. */
  more(requests: number): Promise<void>;
  stop(): Promise<LedgerReport>;
}

const requestsMax = 100_000;
/** More tell nothing new. */
const problemsMax = 20;

/**
 * Each worker has keys of its own and goes round them: every fifth request appends, the others
 * read. `query` goes with every request.
 */
export function startLedgerClients(
  routerUris: string[],
  keys: string[],
  {
    workers = 8,
    query = '',
    written = new Map<string, string[]>(),
  }: {
    workers?: number;
    query?: string;
    /** What is in the keys already; a key that is not there must be empty. Goes on being filled. */
    written?: Map<string, string[]>;
  } = {},
): LedgerClients {
  const fences = new Map<string, bigint>();
  const problems: string[] = [];
  const note = (problem: string) => void (problems.length < problemsMax && problems.push(problem));
  const durations: number[] = [];
  let stopped = false;
  let waiting: { total: number; resolve: () => void }[] = [];

  async function ask(key: string, serial: number): Promise<void> {
    const startedMs = performance.now();
    const method = serial % 5 === 0 ? 'POST' : 'GET';
    const entry = randomUUID();
    const what = `${method} ${key}`;
    try {
      const response = await fetch(`${routerUris[serial % routerUris.length]}${key}${query}`, {
        method,
        ...(method === 'POST' ? { body: entry } : {}),
        signal: AbortSignal.timeout(30_000),
      });
      const text = await response.text();
      if (response.status !== 200) return note(`${what}: ${response.status} ${text}`);
      const view = JSON.parse(text) as LedgerView;
      const expected = [...(written.get(key) ?? []), ...(method === 'POST' ? [entry] : [])];
      written.set(key, expected);
      if (view.entries.join() !== expected.join()) {
        note(`${what}: ${expected.length} entries were written, it shows ${view.entries.length}`);
      }
      const fence = BigInt(view.fence);
      if (fence < (fences.get(key) ?? 0n)) note(`${what}: fence ${fence} after ${fences.get(key)}`);
      fences.set(key, fence);
    } catch (error) {
      note(`${what}: ${String(error instanceof Error ? (error.cause ?? error) : error)}`);
    } finally {
      durations.push(performance.now() - startedMs);
      waiting = waiting.filter(({ total, resolve }) => durations.length < total || resolve());
    }
  }

  const running = Array.from({ length: workers }, async (_, worker) => {
    const own = keys.filter((_key, index) => index % workers === worker);
    for (let serial = worker; own.length > 0 && !stopped && durations.length < requestsMax; serial++) {
      await ask(own[serial % own.length]!, serial);
    }
  });

  return {
    count: () => durations.length,
    more(requests) {
      const total = durations.length + requests;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`only ${durations.length} of ${total} requests answered`)),
          60_000,
        );
        waiting.push({
          total,
          resolve() {
            clearTimeout(timer);
            resolve();
          },
        });
      });
    },
    async stop() {
      stopped = true;
      await Promise.all(running);
      const sorted = durations.toSorted((a, b) => a - b);
      return {
        total: sorted.length,
        problems,
        longestMs: Math.round(sorted.at(-1) ?? 0),
        p99Ms: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0),
        written,
      };
    },
  };
}
