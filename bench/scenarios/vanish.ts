/**
 * A node vanishes: its agent, its hosts and what they started are frozen (SIGSTOP) at once, so that nobody can prove a death and no
 * socket is closed → the first 200 for a key of it from another node, with requests coming at a fixed rate. Peer: the session's time
 * to live, which nobody can be faster than who is to be safe. Afterwards the node wakes up and comes back.
 */
import { startKeepers, whole } from '../keepers.ts';
import { untilOk, type Figure, type Scenario } from '../measure.ts';
import { failed, startOpenLoop } from '../open-loop.ts';
import { allProcesses } from '../peers/bare-process.ts';
import { type Cluster } from '../../tests/support/cluster.ts';

const everyMs = 20;

export const vanish: Scenario = {
  name: 'vanish',
  async run(runs) {
    const figures: Figure[] = [];
    for (const sessionTtlMs of [1_000, 5_000]) {
      const cluster = await startKeepers(3, document => {
        document.sessionTtlMs = sessionTtlMs;
        document.holdMs = sessionTtlMs + 5_000;
      });
      try {
        const samples: number[] = [];
        let sent = 0;
        let failures = 0;
        for (let run = 0; run < runs; run++) {
          const seen = await vanishOnce(cluster, sessionTtlMs, run);
          samples.push(seen.ms);
          sent += seen.sent;
          failures += seen.failures;
          await whole(cluster, 'keepers', 3);
        }
        figures.push(
          {
            name: `node vanished, sessionTtlMs ${sessionTtlMs} → next 200`,
            unit: 'ms',
            samples,
            peer: { name: 'the time to live alone', samples: [sessionTtlMs] },
            aim: `≤ ${sessionTtlMs + 500}`,
          },
          {
            name: `node vanished, sessionTtlMs ${sessionTtlMs}: failed of ${sent} idempotent requests`,
            unit: 'requests',
            samples: [failures],
            peer: null,
            aim: '0',
          },
        );
      } finally {
        await cluster.dispose();
      }
    }
    return figures;
  },
};

async function vanishOnce(
  cluster: Cluster,
  ttlMs: number,
  run: number,
): Promise<{ ms: number; sent: number; failures: number }> {
  const origin = cluster.routerUris[0]!;
  const processes = await cluster.processes();
  const busy = new Set(
    processes
      .filter(({ component }) => component && /^(?:router|node-manager)$/.test(component.instanceId))
      .map(({ nodeUri }) => nodeUri),
  );
  // A key whose owner is on a node that runs neither the router nor the manager.
  for (let serial = 0; serial < 100; serial++) {
    const path = `/keep/vanish-${run}-${serial}`;
    await untilOk(origin + path);
    const owner = (await fetch(origin + path)).headers.get('x-holdfast-owner');
    const victim = processes.find(({ processId }) => processId === owner);
    if (!victim || busy.has(victim.nodeUri)) continue;
    const frozen = processes.filter(({ nodeUri }) => nodeUri === victim.nodeUri).map(({ pid }) => pid!);
    const agent = allProcesses().find(({ pid }) => pid === frozen[0])!.parentPid;
    const tree = [agent, ...descendants(agent)];
    const load = startOpenLoop(origin, { paths: [path], everyMs, requestsMax: 2_000 });
    try {
      await load.next('an answer', ({ status }) => status === 200);
      const next = load.next('another owner', answer => answer.status === 200 && answer.owner !== owner);
      const frozenMs = performance.now();
      for (const pid of tree) process.kill(pid, 'SIGSTOP');
      const { doneMs } = await next;
      await new Promise(resolve => setTimeout(resolve, 200)); // what was held is answered
      await load.stop();
      return { ms: doneMs - frozenMs, sent: load.sent, failures: failed(load.answers).length };
    } finally {
      for (const pid of tree) process.kill(pid, 'SIGCONT');
      await load.stop();
      await new Promise(resolve => setTimeout(resolve, ttlMs + 1_000)); // the node comes back, or is replaced
    }
  }
  throw new Error('every key is owned beside the router or the manager');
}

function descendants(pid: number): number[] {
  const all = allProcesses();
  const below = (parent: number): number[] =>
    all.filter(one => one.parentPid === parent).flatMap(one => [one.pid, ...below(one.pid)]);
  return below(pid);
}
