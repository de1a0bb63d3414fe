/**
 * A bounded load on keys through routers: a few workers that ask in a loop, GET mostly and POST now and then, and write
 * down what failed and in which order each key's fences were seen.
 */
export interface LoadReport {
  total: number;
  failedIdempotent: Failure[];
  failedOthers: Failure[];
  fences: Map<string, bigint[]>;
}

export interface Failure {
  key: string;
  method: string;
  status: number | null;
  code: string | null;
  message: string;
}

export interface Load {
  count(): number;
  /** Resolves when so many requests have been answered in all. */
  completed(total: number): Promise<void>;
  stop(): Promise<LoadReport>;
}

const requestsMax = 100_000;

export function startLoad(routers: string[], keys: string[], workers = 8): Load {
  let stopped = false;
  const report: LoadReport = { total: 0, failedIdempotent: [], failedOthers: [], fences: new Map() };
  const waiting: { total: number; resolve: () => void }[] = [];

  async function ask(serial: number): Promise<void> {
    // A worker has keys of its own (serial ≡ worker modulo workers): fences of one key are seen in the order of its requests.
    const key = keys[serial % (keys.length - (keys.length % workers))]!;
    const method = serial % 10 === 0 ? 'POST' : 'GET';
    const failure = (status: number | null, code: string | null, message: string) =>
      (method === 'GET' ? report.failedIdempotent : report.failedOthers).push({
        key,
        method,
        status,
        code,
        message,
      });
    try {
      const response = await fetch(`${routers[serial % routers.length]}${key}`, {
        method,
        ...(method === 'POST' ? { body: `body ${serial}` } : {}),
        signal: AbortSignal.timeout(30_000),
      });
      const body = (await response.json()) as { fence?: string; code?: string; message?: string };
      if (response.status !== 200) failure(response.status, body.code ?? null, body.message ?? '');
      else report.fences.set(key, [...(report.fences.get(key) ?? []), BigInt(body.fence!)]);
    } catch (error) {
      failure(null, null, String(error instanceof Error ? (error.cause ?? error) : error));
    }
    report.total++;
    for (const waiter of waiting.filter(item => item.total <= report.total)) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  }

  const running = Array.from({ length: workers }, async (_, worker) => {
    for (let serial = worker; !stopped && report.total < requestsMax; serial += workers) {
      await ask(serial);
    }
  });

  return {
    count: () => report.total,
    completed: total =>
      new Promise(resolve => {
        if (report.total >= total) resolve();
        else waiting.push({ total, resolve });
      }),
    async stop() {
      stopped = true;
      await Promise.all(running);
      return report;
    },
  };
}
