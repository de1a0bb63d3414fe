/** One HTTP check: asks the component's own port on this machine, and says whether it answered well and in time. */
import type { System } from '#core';

export interface ProbeTarget {
  port: number;
  path: string;
  timeoutMs: number;
}

/** After the time is over: an agent whose own loop had stalled reads what came in time before it judges. */
const lastLookMs = 10;

/** Resolves to what was wrong, in words, or null for an answer from 200 to 399. Never rejects. */
export function probeHttp(system: System, { port, path, timeoutMs }: ProbeTarget): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const where = `http://127.0.0.1:${port}${path}`;
  const asked = process.getBuiltinModule('node:http').request({
    host: '127.0.0.1',
    port,
    path,
    agent: false,
    headers: { 'user-agent': 'holdfast-health-check', connection: 'close' },
  });
  let cancel = system.timers.after(timeoutMs, () => {
    cancel = system.timers.after(lastLookMs, () => end(`${where} did not answer within ${timeoutMs} ms`));
  });
  function end(problem: string | null): void {
    cancel();
    resolve(problem);
    asked.destroy();
  }
  asked.on('response', response => {
    const status = response.statusCode ?? 0;
    end(status >= 200 && status < 400 ? null : `${where} answered ${status}`);
  });
  asked.on('error', error => {
    end(`${where} cannot be reached: ${(error as NodeJS.ErrnoException).code ?? error.message}`);
  });
  asked.end();
  return promise;
}
