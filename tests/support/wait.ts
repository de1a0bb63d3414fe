/** What nearly every test of processes needs: a port, and waiting for what has no event. */
import { createServer } from 'node:net';

/** A range of its own for each of mocha's processes, gone through in order: nobody else takes a port between the look and its use. */
const portsInRange = 8_000;
const firstPort = 15_000 + (Number(process.env.MOCHA_WORKER_ID ?? 0) % 2) * portsInRange;
let turn = Math.floor(Math.random() * portsInRange);

/** A port that was free a moment ago, below the ephemeral range; never the same one soon. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = firstPort + (turn++ % portsInRange);
    const server = createServer();
    const free = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise(resolve => server.close(resolve));
    return port;
  }
  throw new Error('no free port found');
}

/** Polls until `probe` gives something; the last error or value is in the message when the time is over. */
export async function until<Value>(
  what: string,
  probe: () => Promise<Value | null | undefined | false>,
  deadlineMs = 30_000,
): Promise<Value> {
  const end = performance.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: last });
    await new Promise(resolve => setTimeout(resolve, 25));
  }
}
