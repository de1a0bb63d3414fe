/**
 * Uploads are held in memory until every node has them: so many at once and no more. The others wait before the first
 * byte of their body is read, which costs nothing but an open connection.
 */
import type { FastifyInstance } from 'fastify';
import { HoldfastError } from '#core';

/** For the routes that `app` gets from now on. */
export function takeTurns(app: FastifyInstance, atOnce: number): void {
  const waiting = new Set<() => void>();
  let underWay = 0;

  /** Hands the turn on, or back. */
  function finish(): void {
    const [next] = waiting;
    if (!next) return void underWay--;
    waiting.delete(next);
    next();
  }

  app.addHook('preParsing', async (request, reply) => {
    if (!['POST', 'PUT'].includes(request.method)) return;
    const { raw } = reply;
    if (underWay < atOnce) underWay++;
    else {
      await new Promise<void>((resolve, reject) => {
        waiting.add(resolve);
        raw.once('close', () => {
          if (waiting.delete(resolve)) reject(gone());
        });
      });
    }
    if (raw.closed) {
      finish();
      throw gone();
    }
    raw.once('close', finish);
  });
}

/** For the log: nobody is there to read it. */
function gone(): HoldfastError {
  return new HoldfastError('HF_UNAVAILABLE', 'the client went away before its upload was read');
}
