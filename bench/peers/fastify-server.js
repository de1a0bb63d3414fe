/** fastify with pino, as a service has them: says that it listens, and ends on SIGTERM. Bundled by the scenario. */
import fastify from 'fastify';
import pino from 'pino';

const app = fastify({ loggerInstance: pino({ level: 'info' }, pino.destination('/dev/null')) });
app.get('/', () => ({ hello: 'world' }));
process.on('SIGTERM', () => process.exit(0));
app.listen({ host: '127.0.0.1', port: 0 }, () => process.send('listening'));
