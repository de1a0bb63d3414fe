/**
 * One process that takes uploads in two ways: as a node does (our API and package store), and as little as can be done (node:http, the body
 * hashed while it is streamed to a file, which is synced). It says when a body of ours is on disk, before the package is unpacked.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createSystem } from '#core';
import { acceptUploads, createApi, withUpload } from '#http-api';
import { openPackageStore, packageInfo } from '#package-manager';
import { pino } from 'pino';
import type { FromNode, ToNode } from './processes.ts';

const directory = process.argv[2]!;
const system = createSystem();
const tell = (message: FromNode) => void process.send!(message);
const delay = monitorEventLoopDelay({ resolution: 1 });
let serial = 0;
let highest = 0;
setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 5).unref();

const store = await openPackageStore({
  directory: join(directory, 'packages'),
  system,
  keepVersions: 2,
  onStep: step => {
    if (step === 'staged') tell({ type: 'staged' });
  },
});
const api = await createApi({
  title: 'node',
  system,
  secret: 'bench',
  logger: pino({ level: 'silent' }),
  notReady: () => null,
  metrics: () => '',
  async routes(app) {
    await acceptUploads(app);
    app.post('/api/node/packages', async (request, reply) => {
      const { package: stored, created } = await withUpload(request, reply, zip =>
        store.install(zip, { makeCurrent: false }),
      );
      return reply.code(created ? 201 : 200).send(packageInfo(stored));
    });
  },
});
await api.listen({ host: '127.0.0.1', port: 0 });

const raw = createServer((request, response) => {
  const hash = createHash('sha256');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const file = createWriteStream(join(directory, `raw-${serial++ % 2}`), { flush: true });
  void pipeline(request, hashing, file).then(() => response.end(hash.digest('hex')));
});
await new Promise<void>(resolve => raw.listen(0, '127.0.0.1', resolve));

async function install({ path }: ToNode): Promise<void> {
  delay.reset();
  delay.enable();
  highest = process.memoryUsage.rss();
  const before = { rss: highest, cpu: process.cpuUsage(), ms: performance.now() };
  await store.install({ path }, { makeCurrent: false });
  delay.disable();
  const { user, system: kernel } = process.cpuUsage(before.cpu);
  tell({
    type: 'installed',
    ms: performance.now() - before.ms,
    cpuMs: (user + kernel) / 1_000,
    delayMs: delay.max / 1e6,
    grownBytes: highest - before.rss,
  });
}
process.on('message', (message: ToNode) => void install(message));
process.on('disconnect', () => process.exit());
const portOf = (address: unknown) => (address as AddressInfo).port;
tell({ type: 'ready', ours: portOf(api.server.address()), raw: portOf(raw.address()) });
