/**
 * The owner of a key killed with SIGKILL → next 200 for that key from the new owner. Peer: a bare server under a
 * supervisor that forks it again at once.
 */
import { once } from 'node:events';
import { time, untilOk, type Scenario } from '../measure.ts';
import { startBareServer } from '../peers/bare-process.ts';
import { freePort, startCluster, until } from '../../tests/support/cluster.ts';

export const failover: Scenario = {
  name: 'failover',
  async run(runs) {
    const sqlite: number[] = [];
    const bare: number[] = [];
    const cluster = await startCluster();
    const port = await freePort();
    try {
      let server = await startBareServer(port);
      await untilOk(server.uri);
      const key = `${cluster.routerUris[0]}/db/failover`;
      for (let run = 0; run < runs; run++) {
        const owner = (await fetch(key)).headers.get('x-holdfast-owner');
        const victim = (await cluster.processes()).find(item => item.processId === owner)!;
        sqlite.push(
          await time(async () => {
            process.kill(victim.pid!, 'SIGKILL');
            // The first answer may still be the dying owner's: what counts is the first from another one.
            for (;;) {
              const response = await fetch(key);
              await response.text();
              if (response.status === 200 && response.headers.get('x-holdfast-owner') !== owner) break;
            }
          }),
        );
        bare.push(
          await time(async () => {
            const ended = once(server.child, 'exit');
            server.child.kill('SIGKILL');
            await ended;
            server = await startBareServer(port);
            await untilOk(server.uri);
          }),
        );
        await until('the pool is whole again', async () => {
          const found = (await cluster.status()).instances.find(instance => instance.id === 'databases');
          return found?.running === 3;
        });
      }
      server.child.kill('SIGKILL');
    } finally {
      await cluster.dispose();
    }
    return [
      {
        name: 'host of a SQLite database killed → next 200',
        unit: 'ms',
        samples: sqlite,
        peer: { name: 'bare server forked again', samples: bare },
        aim: '< 60',
      },
    ];
  },
};
