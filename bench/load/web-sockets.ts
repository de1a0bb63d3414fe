/**
 * A process that holds WebSockets: `web-sockets.ts <port> <path>`. Over the channel of `fork` it is told `{ open: n }`, which opens so many
 * more, or `{ echo: ms }`, which sends a message on each, again and again as soon as its echo is there, and compares every echo. Written on
 * sockets, so that ten thousand of them cost little. Ends when the channel closes, or with an error when one breaks.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createHistogram } from 'node:perf_hooks';

export interface EchoResult {
  messages: number;
  p50Us: number;
  p99Us: number;
}

const [port, path] = [Number(process.argv[2]), process.argv[3]!];
const openAtOnce = 100;
const messageBytes = 64;
const sockets: Socket[] = [];

process.once('disconnect', () => process.exit(0));
process.on('message', (command: { open: number } | { echo: number }) => {
  void ('open' in command ? openMore(command.open) : echo(command.echo)).then(result =>
    process.send!(result),
  );
});

async function openMore(count: number): Promise<string> {
  for (let index = 0; index < count; index += openAtOnce) {
    const some = Math.min(openAtOnce, count - index);
    await Promise.all(Array.from({ length: some }, (_, at) => openOne((index + at) % 1_000)));
  }
  return 'open';
}

async function openOne(key: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const nonce = randomBytes(16).toString('base64');
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('closed')));
  socket.write(
    `GET ${path}k${String(key).padStart(4, '0')} HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
      `sec-websocket-version: 13\r\nsec-websocket-key: ${nonce}\r\n\r\n`,
  );
  let head = '';
  await new Promise<void>(resolve => {
    socket.on('data', function listen(chunk: Buffer) {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', listen);
      resolve();
    });
  });
  const accept = createHash('sha1').update(`${nonce}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  if (!head.startsWith('HTTP/1.1 101') || !head.includes(accept)) fail(new Error(head));
  sockets.push(socket);
}

async function echo(ms: number): Promise<EchoResult> {
  const latency = createHistogram();
  const endMs = performance.now() + ms;
  let messages = 0;
  await Promise.all(
    sockets.map(
      (socket, index) =>
        new Promise<void>(resolve => {
          const text = String(index).padStart(messageBytes, '.');
          // A text frame with a mask of zeros: allowed, and as long as any other.
          const question = Buffer.concat([
            Buffer.from([0x81, 0x80 | messageBytes, 0, 0, 0, 0]),
            Buffer.from(text),
          ]);
          const answer = Buffer.concat([Buffer.from([0x81, messageBytes]), Buffer.from(text)]);
          let received: Buffer = Buffer.alloc(0);
          let sentMs = 0;
          const send = () => {
            sentMs = performance.now();
            socket.write(question);
          };
          socket.on('data', function listen(chunk: Buffer) {
            received = received.length > 0 ? Buffer.concat([received, chunk]) : chunk;
            if (received.length < answer.length) return;
            if (!received.equals(answer))
              return fail(new Error(`a wrong echo: ${received.toString('latin1')}`));
            received = Buffer.alloc(0);
            messages++;
            latency.record(Math.max(1, Math.round((performance.now() - sentMs) * 1_000)));
            if (performance.now() < endMs) return send();
            socket.off('data', listen);
            resolve();
          });
          send();
        }),
    ),
  );
  return { messages, p50Us: latency.percentile(50), p99Us: latency.percentile(99) };
}

function fail(error: Error): void {
  process.stderr.write(`a WebSocket broke: ${error.message}\n`);
  process.exit(1);
}
