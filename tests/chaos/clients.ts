/** Clients that write, read and look at keys through all routers, and write down what they saw. Bounded. */
import type { Dice } from './dice.ts';
import type { History, Row, Span } from './history.ts';

export interface Clients {
  count(): number;
  /** Resolves when each has finished what it was doing. */
  stop(): Promise<void>;
}

export interface ClientOptions {
  routers: readonly string[];
  /** Databases with an append-only register. */
  registers: readonly string[];
  /** Resources that only say who answers. */
  keepers: readonly string[];
  history: History;
  dice: Dice;
  workers: number;
  nowMs: () => number;
}

const pauseMs = { least: 5, spread: 20 };
const timeoutMs = 30_000;
const rowsRead = 20;

export const createRegister =
  'CREATE TABLE IF NOT EXISTS register (id INTEGER PRIMARY KEY, value TEXT NOT NULL)';

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

export function startClients(options: ClientOptions): Clients {
  const { history, dice, nowMs } = options;
  let stopped = false;
  let count = 0;
  let serial = 0;

  /** Null when it failed, which has been written down then. */
  async function ask(request: {
    key: string;
    method: 'GET' | 'POST';
    query?: string;
    body?: object | string;
  }): Promise<{ answer: Answer | null; span: Span; executed: 'yes' | 'no' | 'unknown' }> {
    const router = dice.pick(options.routers);
    const startMs = nowMs();
    const { key, method } = request;
    const span = () => ({ key, router, startMs, endMs: nowMs() });
    try {
      const response = await fetch(`${router}${key}${request.query ?? ''}`, {
        method,
        ...(request.body === undefined
          ? {}
          : { body: JSON.stringify(request.body), headers: { 'content-type': 'application/json' } }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      const body = (await response.json()) as Record<string, unknown>;
      count++;
      if (response.status === 200) return { answer: { status: 200, body }, span: span(), executed: 'yes' };
      const code = typeof body.code === 'string' ? body.code : null;
      history.failures.push({
        ...span(),
        method,
        status: response.status,
        code,
        message: String(body.message),
      });
      return { answer: null, span: span(), executed: response.status === 503 ? 'no' : 'unknown' };
    } catch (error) {
      count++;
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      history.failures.push({ ...span(), method, status: null, code: null, message: String(cause) });
      // Refused connections were never made; what else broke may have been executed.
      const refused = (cause as { code?: unknown }).code === 'ECONNREFUSED';
      return { answer: null, span: span(), executed: refused ? 'no' : 'unknown' };
    }
  }

  async function write(key: string): Promise<void> {
    const value = `v${++serial}`;
    const body = { query: 'INSERT INTO register (value) VALUES (?) RETURNING id', parameters: [value] };
    const { answer, span, executed } = await ask({ key, method: 'POST', body });
    const id = answer ? (answer.body.results as { id: number }[])[0]!.id : null;
    const outcome = executed === 'yes' ? 'acknowledged' : executed === 'no' ? 'refused' : 'unknown';
    history.writes.push({ ...span, value, outcome, id });
  }

  async function read(key: string): Promise<void> {
    const sql = `SELECT id, value FROM register ORDER BY id DESC LIMIT ${rowsRead}`;
    const { answer, span } = await ask({ key, method: 'GET', query: `?query=${encodeURIComponent(sql)}` });
    if (answer) history.reads.push({ ...span, rows: answer.body.results as Row[] });
  }

  async function look(key: string, method: 'GET' | 'POST'): Promise<void> {
    const { answer, span } = await ask({ key, method, ...(method === 'POST' ? { body: 'hello' } : {}) });
    if (!answer) return;
    const { fence, owner, worker, served } = answer.body;
    history.sights.push({
      ...span,
      fence: BigInt(fence as string),
      owner: String(owner ?? worker),
      served: typeof served === 'number' ? served : null,
    });
  }

  async function work(): Promise<void> {
    while (!stopped) {
      const turn = dice.below(10);
      if (turn < 4) await write(dice.pick(options.registers));
      else if (turn < 6) await read(dice.pick(options.registers));
      else if (turn < 7) await look(dice.pick(options.registers), 'GET');
      else await look(dice.pick(options.keepers), turn < 9 ? 'GET' : 'POST');
      await new Promise(resolve => setTimeout(resolve, pauseMs.least + dice.below(pauseMs.spread)));
    }
  }

  const running = Array.from({ length: options.workers }, work);
  return {
    count: () => count,
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}
