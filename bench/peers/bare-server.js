/**
 * The least that can answer: node:http on a free port, printed when it listens. What hosts are compared with. JavaScript,
 * because the stripping of types would make it slower to start and larger.
 */
import { createServer } from 'node:http';

const server = createServer((_request, response) => response.end('ok'));
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`${server.address().port}\n`);
});
