/**
 * Drives PM2 by its own programming interface, in a process of its own with a home of its own (`PM2_HOME`):
 * `pm2-driver.js <folder with the package>`. Takes `{ id, command, argument }` over the channel of `fork`, answers `{ id, error, result }`.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const pm2 = createRequire(`${process.argv[2]}/`)('pm2');
const call = (method, ...words) =>
  new Promise((resolve, reject) => {
    pm2[method](...words, (error, result) => (error ? reject(error) : resolve(result)));
  });

const commands = {
  /** Starts the daemon. Answers its pid. */
  async connect() {
    await call('connect');
    return Number(readFileSync(join(process.env.PM2_HOME, 'pm2.pid'), 'utf8'));
  },
  async start(apps) {
    await call('start', { apps });
  },
  async reload(name) {
    await call('reload', name);
  },
  async deleteAll() {
    await call('delete', 'all').catch(() => {}); // there was none
  },
  async end() {
    await call('killDaemon');
  },
};

process.on('message', ({ id, command, argument }) => {
  commands[command](argument).then(
    result => process.send({ id, result }),
    error => process.send({ id, error: String(error?.stack ?? JSON.stringify(error)) }),
  );
});
