/**
 * Proxies of npm in front of upstreams, chosen by a hash of the path: `node-proxy.js <http-proxy|reply-from> <folder> <port>…`, where the
 * folder has the packages and each port is an upstream. Prints its own port.
 */
import { Agent, createServer } from 'node:http';
import { createRequire } from 'node:module';

const [kind, folder, ...ports] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const targets = ports.map(port => `http://127.0.0.1:${port}`);

function targetOf(path) {
  let hash = 5381;
  for (let index = 0; index < path.length; index++) hash = (hash * 33 + path.charCodeAt(index)) | 0;
  return targets[(hash >>> 0) % targets.length];
}

if (kind === 'http-proxy') {
  const agent = new Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 256 });
  const proxy = require('http-proxy').createProxyServer({ agent });
  proxy.on('error', (_error, _request, response) => response.destroy());
  const server = createServer((request, response) =>
    proxy.web(request, response, { target: targetOf(request.url) }),
  );
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
} else {
  const app = require('fastify')();
  await app.register(require('@fastify/reply-from'), { undici: { connections: 128, pipelining: 1 } });
  app.all('/*', (request, reply) => reply.from(targetOf(request.url) + request.url));
  await app.listen({ port: 0, host: '127.0.0.1' });
  process.stdout.write(`${app.server.address().port}\n`);
}
