/** Memory of idle component hosts and of bare Node servers of the same version, among as many siblings. */
import { untilOk, type Scenario } from '../measure.ts';
import { memoryOf, startBareServer } from '../peers/bare-process.ts';
import { startCluster, until } from '../../tests/support/cluster.ts';

const mebibyte = 1024 * 1024;

export const memory: Scenario = {
  name: 'memory',
  async run(runs) {
    const count = Math.max(3, Math.min(runs, 10));
    const cluster = await startCluster({
      edit(document) {
        document.componentInstances.push({ id: 'hello', packageName: 'hello', instances: count });
      },
    });
    const servers = await Promise.all(Array.from({ length: count }, () => startBareServer()));
    try {
      await Promise.all(servers.map(server => untilOk(server.uri)));
      await until(
        'all run',
        async () => (await cluster.status()).instances.find(item => item.id === 'hello')?.running === count,
      );
      await new Promise(resolve => setTimeout(resolve, 3_000)); // idle
      const hosts = (await cluster.processes()).filter(item => item.component?.instanceId === 'hello');
      const ours = hosts.map(host => memoryOf(host.pid!));
      const bare = servers.map(server => memoryOf(server.child.pid!));
      const mib = (bytes: number[]) => bytes.map(value => value / mebibyte);
      return [
        {
          name: 'idle host, PSS',
          unit: 'MiB',
          samples: mib(ours.map(item => item.pssBytes)),
          peer: { name: 'bare server, PSS', samples: mib(bare.map(item => item.pssBytes)) },
          aim: '< bare + 20',
        },
        {
          name: 'idle host, RSS',
          unit: 'MiB',
          samples: mib(ours.map(item => item.rssBytes)),
          peer: { name: 'bare server, RSS', samples: mib(bare.map(item => item.rssBytes)) },
          aim: '–',
        },
      ];
    } finally {
      for (const server of servers) server.child.kill('SIGKILL');
      await cluster.dispose();
    }
  },
};
