/** Runs wrk with `requests.lua`, and refuses a result with a single failed, broken or wrong response. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pathOf } from '../peers/install.ts';

const run = promisify(execFile);

export interface WrkOptions {
  port: number;
  connections: number;
  seconds: number;
  /** Path before the key, or the whole path when `keys` is 0. */
  prefix: string;
  keys: number;
  browserHeaders?: boolean;
  /** POST with so many bytes instead of GET. */
  bodyBytes?: number;
  /** Least bytes of a right response. */
  bytesMin: number;
  /** Compares every body; takes one thread for each connection. */
  compare?: boolean;
}

export interface WrkResult {
  requests: number;
  perSecond: number;
  p50Us: number;
  p99Us: number;
}

/** @throws when any response was not 200, broke off, had too few bytes or (with `compare`) was not that of its key */
export async function wrk(options: WrkOptions): Promise<WrkResult> {
  const { port, connections, seconds, prefix, keys } = options;
  const threads = options.compare ? connections : Math.min(2, connections);
  const { stdout } = await run(
    pathOf('wrk'),
    `-t ${threads} -c ${connections} -d ${seconds}s --timeout 30s -s`
      .split(' ')
      .concat(join(import.meta.dirname, 'requests.lua'), `http://127.0.0.1:${port}`),
    {
      timeout: (seconds + 60) * 1_000,
      env: {
        ...process.env,
        BENCH_PREFIX: prefix,
        BENCH_KEYS: String(keys),
        ...(options.browserHeaders ? { BENCH_HEADERS: '1' } : {}),
        ...(options.bodyBytes ? { BENCH_BODY: String(options.bodyBytes) } : {}),
        ...(options.compare ? { BENCH_VALUE: 'v'.repeat(160) } : {}),
      },
    },
  );
  const line = /^RESULT (.*)$/m.exec(stdout);
  if (!line) throw new Error(`wrk gave no result:\n${stdout}`);
  const result = JSON.parse(line[1]!) as Record<
    'requests' | 'durationUs' | 'bytes' | 'notOk' | 'broken' | 'wrong' | 'p50Us' | 'p99Us',
    number
  >;
  const tooShort = result.bytes < result.requests * options.bytesMin;
  if (result.requests === 0 || result.notOk + result.broken + result.wrong > 0 || tooShort) {
    throw new Error(`wrong answers from port ${port}, ${prefix}:\n${stdout}`);
  }
  const { requests, durationUs, p50Us, p99Us } = result;
  return { requests, perSecond: (requests * 1e6) / durationUs, p50Us, p99Us };
}
