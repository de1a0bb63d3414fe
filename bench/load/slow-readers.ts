/**
 * A process that asks for streams and reads them slowly: `slow-readers.ts <port> <count> <prefix>`. Tells `all` over the channel of `fork`
 * when every response has begun, and each stream's bytes so far when asked. Ends when the channel closes.
 */
import { connect, type Socket } from 'node:net';

const [port, count, prefix] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]!];
const readEveryMs = 500;
const readBytes = 4_096;
const openAtOnce = 50;

process.once('disconnect', () => process.exit(0));
const sockets: Socket[] = [];
let bytes = 0;
for (let index = 0; index < count; index += openAtOnce) {
  const some = Array.from({ length: Math.min(openAtOnce, count - index) }, (_, at) => index + at);
  await Promise.all(some.map(begin));
}
setInterval(() => {
  for (const socket of sockets) bytes += (socket.read(readBytes) as Buffer | null)?.length ?? 0;
}, readEveryMs);
process.on('message', () => process.send!({ bytes }));
process.send!('all');

/** Resolves when the response has begun. */
async function begin(index: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' });
  sockets.push(socket);
  socket.on('error', fail);
  socket.on('close', fail);
  const path = `${prefix}k${String(index).padStart(4, '0')}`;
  socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\n\r\n`);
  await new Promise<void>(resolve => socket.once('readable', resolve));
  const head = String((socket.read(15) as Buffer | null) ?? '');
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(`${path}: ${head}`);
}

function fail(error?: unknown): void {
  process.stderr.write(`a slow stream broke: ${String(error)}\n`);
  process.exit(1);
}
