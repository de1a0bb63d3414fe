/**
 * The app of the comparison with process managers: listens, and tells by a datagram with its pid as soon as it does. The same code runs
 * under PM2, as a plain child, and in a component's `start`.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

/** Resolves to the server when it listens and that was told. */
export function listen({ port, tellPort }) {
  const server = createServer((_request, response) => response.end('ok'));
  return new Promise(resolve => {
    server.listen(port, '127.0.0.1', () => {
      const socket = createSocket('udp4');
      socket.send(String(process.pid), tellPort, '127.0.0.1', () => {
        socket.close();
        resolve(server);
      });
    });
  });
}

if (process.env.BENCH_TELL_PORT) {
  const server = await listen({
    port: Number(process.env.BENCH_PORT ?? 0),
    tellPort: Number(process.env.BENCH_TELL_PORT),
  });
  // As PM2's documentation advises for reloads.
  if (process.env.BENCH_GRACEFUL) process.on('SIGINT', () => server.close(() => process.exit(0)));
}
