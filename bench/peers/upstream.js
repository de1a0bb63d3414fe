/**
 * What peers stand in front of: a node:http host that gives the answers of `../component/index.js`. Prints its port. JavaScript, as
 * `bare-server.js` is. With a second argument it answers WebSockets too, by the package `ws` of the folder named there.
 */
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { answerOf, big, slowChunks } from '../component/answers.js';

const server = createServer((request, response) => {
  const { method, url } = request;
  if (method === 'POST') {
    let bytes = 0;
    request.on('data', chunk => (bytes += chunk.length));
    request.on('end', () => send(response, JSON.stringify({ bytes })));
  } else if (url.startsWith('/bench/big')) {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': big.length });
    response.end(big);
  } else if (url.startsWith('/bench/slow')) {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    Readable.from(slowChunks())
      .on('error', () => response.destroy())
      .pipe(response);
  } else {
    send(response, JSON.stringify(answerOf(url)));
  }
});
server.keepAliveTimeout = 120_000;

function send(response, text) {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

if (process.argv[3]) {
  const { WebSocketServer } = createRequire(`${process.argv[3]}/`)('ws');
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on('connection', socket =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
}

server.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1', backlog: 4096 }, () => {
  process.stdout.write(`${server.address().port}\n`);
});
