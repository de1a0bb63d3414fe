/** Clients that append, read and look through all routers, and write down what they did and saw. Bounded. */
import type { Dialect, Told, Wish } from './dialects.ts';
import type { Dice } from './dice.ts';
import type { Failure, History, Operation } from './history.ts';

export interface Clients {
  count(): number;
  /** Reads a key through a router, as one of them. */
  read(key: string, router: string): Promise<Operation>;
  /** Resolves when each has finished what it was doing. */
  stop(): Promise<void>;
}

export interface ClientOptions {
  routers: readonly string[];
  registers: ReadonlyMap<string, Dialect>;
  history: History;
  dice: Dice;
  workers: number;
  /** Reads always look into the file, and never trust the owner's memory. */
  readFiles: boolean;
  timeoutMs: number;
}

const pauseMs = { least: 5, spread: 30 };
const ownerPauseMsMax = 400;
const operationsMax = 500_000;
/** The connection was never made, so nothing was sent. */
const neverSent = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

export function startClients(options: ClientOptions): Clients {
  const { history, dice } = options;
  const keys = [...options.registers.keys()];
  let stopped = false;
  let serial = 0;

  async function perform(
    client: number,
    { key, router, kind }: Pick<Operation, 'key' | 'router' | 'kind'>,
  ): Promise<Operation> {
    const dialect = options.registers.get(key)!;
    const element = kind === 'append' ? `e${++serial}` : null;
    const fromFile = options.readFiles || dice.below(3) === 0;
    const pauses = { beforeMs: pauseOfOwner(dice), afterMs: pauseOfOwner(dice) };
    const wish =
      (kind === 'look' ? dialect.look() : null) ??
      (element === null ? dialect.read({ fromFile, ...pauses }) : dialect.append(element, pauses));
    const startMs = machineMs();
    const outcome = await ask(`${router}${key}`, wish, dialect, options.timeoutMs);
    const operation = { client, key, router, kind, startMs, endMs: machineMs(), element, ...outcome };
    history.operations.push(operation);
    return operation;
  }

  async function work(client: number): Promise<void> {
    while (!stopped && history.operations.length < operationsMax) {
      const turn = dice.below(10);
      const kind = turn < 5 ? 'append' : turn < 9 ? 'read' : 'look';
      await perform(client, { key: dice.pick(keys), router: dice.pick(options.routers), kind });
      await new Promise(resolve => setTimeout(resolve, pauseMs.least + dice.below(pauseMs.spread)));
    }
  }

  const running = Array.from({ length: options.workers }, (_, client) => work(client));
  return {
    count: () => history.operations.length,
    read: (key, router) => perform(-1, { key, router, kind: 'read' }),
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}

/** Mostly none, now and then long enough for something to happen in it. */
function pauseOfOwner(dice: Dice): number {
  return dice.below(4) === 0 ? dice.below(ownerPauseMsMax) : 0;
}

type Outcome = Pick<Operation, 'outcome' | 'position' | 'seen' | 'answer' | 'failure'>;

const nothing: Told = { answer: null, position: null, seen: null };

async function ask(uri: string, wish: Wish, dialect: Dialect, timeoutMs: number): Promise<Outcome> {
  try {
    const response = await fetch(uri + wish.query, {
      method: wish.method,
      ...(wish.body === null ? {} : { body: wish.body, headers: { 'content-type': wish.contentType } }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const body = (await response.json()) as Record<string, unknown>;
    if (response.status === 200) {
      const told = dialect.understand(body, response.headers.get('x-holdfast-owner'));
      return { outcome: 'ok', ...told, failure: null };
    }
    const failure: Failure = {
      status: response.status,
      code: typeof body['code'] === 'string' ? body['code'] : null,
      message: String(body['message']),
    };
    // What these answers promise is a part of what is checked.
    const executed = response.status === 503 || response.status === 421 ? 'failed' : 'unknown';
    return { outcome: executed, ...nothing, failure };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const code = String((cause as { code?: unknown }).code);
    const failure = { status: null, code: null, message: String(cause) };
    return { outcome: neverSent.has(code) ? 'failed' : 'unknown', ...nothing, failure };
  }
}

/** Milliseconds of the machine's monotonic clock, as the registers tell it. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
