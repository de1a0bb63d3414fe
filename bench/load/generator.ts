/**
 * A process that loads routers, at a rate that does not depend on how fast they answer, or as fast as its connections go. Every
 * response is checked: status, that its body is that of its key, and that the key's fences never fall. Reports each second over the
 * channel of `fork`; keeps no response, so that it can go on for hours.
 */
import { createHistogram } from 'node:perf_hooks';
import { createConnection, type Connection } from './connection.ts';

export interface LoadPlan {
  ports: number[];
  keys: string[];
  connections: number;
  /** null: as fast as the connections go. */
  perSecond: number | null;
  /** Every so many requests one is a POST, which may fail when its owner dies; 0: none. */
  postEvery: number;
  /** The answers are those of the keeper of tests/support/make-package.ts; otherwise only the status is checked. */
  keepers: boolean;
}

export interface Failure {
  method: string;
  key: string;
  status: number;
  what: string;
}

/** What happened in a second. */
export interface Window {
  answered: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  /** Requests that were due and found no free connection. */
  waiting: number;
  failedIdempotent: number;
  failedOthers: number;
  /** Answers that were not those of their key, or came under an older fence than one before. */
  wrong: number;
  /** The first of them. */
  examples: Failure[];
}

const examplesMax = 5;
const tickMs = 1;

process.once('message', (plan: LoadPlan) => run(plan));
process.once('disconnect', () => process.exit(0)); // whoever measures has ended

function run(plan: LoadPlan): void {
  const latency = createHistogram();
  let window = emptyWindow();
  let stopped = false;
  let open = 0;
  let serial = 0;
  const idle: Worker[] = [];
  /** When requests that found no connection were due. */
  const due: number[] = [];
  const startMs = performance.now();
  let scheduled = 0;

  interface Worker {
    connection: Connection;
    keys: { path: string; fence: bigint }[];
    turn: number;
  }

  async function ask(worker: Worker, dueMs: number): Promise<void> {
    const key = worker.keys[worker.turn++ % worker.keys.length]!;
    serial++;
    const method = plan.postEvery > 0 && serial % plan.postEvery === 0 ? 'POST' : 'GET';
    const body = method === 'POST' ? `body ${serial}` : '';
    const length = method === 'POST' ? `content-length: ${body.length}\r\n` : '';
    const reply = await worker.connection.ask(
      `${method} ${key.path} HTTP/1.1\r\nhost: bench\r\n${length}\r\n${body}`,
    );
    latency.record(Math.max(1, Math.round((performance.now() - dueMs) * 1_000)));
    window.answered++;
    const problem = (what: string) => {
      if (window.examples.length < examplesMax)
        window.examples.push({ method, key: key.path, status: reply.status, what: what.slice(0, 300) });
    };
    if (reply.status !== 200) {
      if (method === 'GET') window.failedIdempotent++;
      else window.failedOthers++;
      problem(reply.error || reply.body);
    } else if (plan.keepers) {
      const answer = JSON.parse(reply.body) as { key: string; fence: string; body: string };
      const fence = BigInt(answer.fence);
      if (answer.key !== key.path || answer.body !== body || fence < key.fence) {
        window.wrong++;
        problem(`the last fence was ${key.fence}: ${reply.body}`);
      }
      key.fence = fence;
    }
  }

  async function work(worker: Worker, firstDueMs: number): Promise<void> {
    open++;
    for (let dueMs: number | undefined = firstDueMs; dueMs !== undefined;) {
      await ask(worker, dueMs);
      dueMs = stopped ? undefined : plan.perSecond === null ? performance.now() : due.shift();
    }
    open--;
    idle.push(worker);
    if (stopped && open === 0) end();
  }

  // Each key is asked for by one connection, so that its answers come in the order of its requests.
  for (let index = 0; index < plan.connections; index++) {
    const keys = plan.keys.filter((_, at) => at % plan.connections === index);
    if (keys.length === 0) continue;
    idle.push({
      connection: createConnection(plan.ports[index % plan.ports.length]!),
      keys: keys.map(path => ({ path, fence: 0n })),
      turn: 0,
    });
  }
  const workers = [...idle];
  const tick = setInterval(() => {
    const nowMs = performance.now();
    if (plan.perSecond === null) {
      for (const worker of idle.splice(0)) void work(worker, nowMs);
      return;
    }
    const dueCount = Math.floor(((nowMs - startMs) / 1_000) * plan.perSecond);
    for (; scheduled < dueCount; scheduled++) {
      const dueMs = startMs + (scheduled / plan.perSecond) * 1_000;
      const worker = idle.shift();
      if (worker) void work(worker, dueMs);
      else due.push(dueMs);
    }
  }, tickMs);
  const report = setInterval(() => tell(), 1_000);
  process.once('message', () => {
    stopped = true;
    due.length = 0;
    clearInterval(tick);
    if (open === 0) end();
  });

  function tell(): void {
    const { p50Ms, p99Ms, maxMs } = {
      p50Ms: latency.percentile(50) / 1_000,
      p99Ms: latency.percentile(99) / 1_000,
      maxMs: latency.count > 0 ? latency.max / 1_000 : 0,
    };
    process.send!({ ...window, p50Ms, p99Ms, maxMs, waiting: due.length } satisfies Window);
    latency.reset();
    window = emptyWindow();
  }

  function end(): void {
    clearInterval(report);
    for (const { connection } of workers) connection.close();
    tell();
    process.disconnect();
  }
}

function emptyWindow(): Window {
  return {
    answered: 0,
    p50Ms: 0,
    p99Ms: 0,
    maxMs: 0,
    waiting: 0,
    failedIdempotent: 0,
    failedOthers: 0,
    wrong: 0,
    examples: [],
  };
}
