/** Lets fastify write into the log that the component was given. */
import type { FastifyBaseLogger } from 'fastify';
import type { Logger } from '#core';

export function fastifyLogger(log: Logger): FastifyBaseLogger {
  const write = (level: keyof Logger) => (facts: unknown, text?: unknown) => {
    if (typeof facts === 'object' && facts !== null) log[level](facts, typeof text === 'string' ? text : '');
    else log[level]({}, String(facts));
  };
  const adapted: FastifyBaseLogger = {
    level: 'info',
    debug: write('debug'),
    trace: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('error'),
    silent: () => {},
    child: () => adapted,
  };
  return adapted;
}
