/** `holdfast up` on a prepared clone, no state → first 200 through the router. Peer: seven bare Node servers started at once. */
import { time, untilOk, type Scenario } from '../measure.ts';
import { startBareServer } from '../peers/bare-process.ts';
import { startCluster } from '../../tests/support/cluster.ts';

export const start: Scenario = {
  name: 'start',
  async run(runs) {
    const ours: number[] = [];
    const bare: number[] = [];
    for (let run = 0; run < runs; run++) {
      bare.push(
        await time(async () => {
          const servers = await Promise.all(Array.from({ length: 7 }, () => startBareServer()));
          await Promise.all(servers.map(server => untilOk(server.uri)));
          for (const server of servers) server.child.kill('SIGKILL');
        }),
      );
      const begin = performance.now();
      const cluster = await startCluster({
        onSpawn: routers =>
          untilOk(`${routers[0]}/db/first`).then(() => ours.push(performance.now() - begin)),
      });
      await cluster.dispose();
    }
    return [
      {
        name: 'start of a cluster → first 200',
        unit: 'ms',
        samples: ours,
        peer: { name: '7 bare servers', samples: bare },
        aim: '< 3,000',
      },
    ];
  },
};
