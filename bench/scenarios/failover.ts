/**
 * The owner of a key killed with SIGKILL while idempotent requests for it come at a fixed rate → the first 200 from another owner, and
 * how many of the requests failed. Peer: a bare server under a supervisor that forks it again at once.
 */
import { once } from 'node:events';
import { startKeepers, whole } from '../keepers.ts';
import { time, untilOk, type Figure, type Scenario } from '../measure.ts';
import { failed, startOpenLoop } from '../open-loop.ts';
import { startBareServer } from '../peers/bare-process.ts';
import { freePort, type Cluster } from '../../tests/support/cluster.ts';

const everyMs = 4;

export const failover: Scenario = {
  name: 'failover',
  async run(runs) {
    const bare: number[] = [];
    const port = await freePort();
    let server = await startBareServer(port);
    const forkAgain = async () => {
      bare.push(
        await time(async () => {
          const ended = once(server.child, 'exit');
          server.child.kill('SIGKILL');
          await ended;
          server = await startBareServer(port);
          await untilOk(server.uri);
        }),
      );
    };
    const cluster = await startKeepers(3);
    const figures: Figure[] = [];
    try {
      for (const [instance, path, name] of [
        ['keepers', '/keep/failover', 'host without files killed'],
        ['databases', '/db/failover', 'host of a SQLite database killed'],
      ] as const) {
        const { samples, sent, failures } = await kill(cluster, instance, path, runs, forkAgain);
        figures.push(
          {
            name: `${name} → next 200`,
            unit: 'ms',
            samples,
            peer: { name: 'bare server forked again', samples: [...bare] },
            aim: '≤ 25, p99 ≤ 75',
          },
          {
            name: `${name}: failed of ${sent} idempotent requests`,
            unit: 'requests',
            samples: [failures],
            peer: null,
            aim: '0',
          },
        );
      }
    } finally {
      server.child.kill('SIGKILL');
      await cluster.dispose();
    }
    return figures;
  },
};

async function kill(
  cluster: Cluster,
  id: string,
  path: string,
  runs: number,
  between: () => Promise<void>,
): Promise<{ samples: number[]; sent: number; failures: number }> {
  const origin = cluster.routerUris[0]!;
  const samples: number[] = [];
  let sent = 0;
  let failures = 0;
  await untilOk(origin + path);
  for (let run = 0; run < runs; run++) {
    const load = startOpenLoop(origin, { paths: [path], everyMs, requestsMax: 10_000 });
    const { owner } = await load.next('an answer', answer => answer.status === 200);
    const victim = (await cluster.processes()).find(item => item.processId === owner)!;
    // Requests that are in flight before the kill must not count: what is measured is the first answer of *another* owner.
    const next = load.next('the next owner', answer => answer.status === 200 && answer.owner !== owner);
    const killedMs = performance.now();
    process.kill(victim.pid!, 'SIGKILL');
    samples.push((await next).doneMs - killedMs);
    await new Promise(resolve => setTimeout(resolve, 50)); // what was held is answered
    await load.stop();
    sent += load.sent;
    failures += failed(load.answers).length;
    await between();
    await whole(cluster, id, 3);
  }
  return { samples, sent, failures };
}
