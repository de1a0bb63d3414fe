/**
 * Keys moved by an operator (`POST /api/master/resources/{key}/move`) while requests for them come: the longest that a request waited
 * around each move, beside what requests wait without one. Then hosts join a pool under load: how many keys move, and how many requests
 * fail. The load goes on for 100,000 requests.
 */
import type { ResourceInfo } from '#core';
import { startKeepers, whole } from '../keepers.ts';
import { percentile, untilOk, type Figure, type Scenario } from '../measure.ts';
import { failed, startOpenLoop, type Answer } from '../open-loop.ts';
import { until, type Cluster } from '../../tests/support/cluster.ts';

const movesFor = (runs: number) => Math.max(20, Math.min(runs * 10, 200));
const requestsWanted = 100_000;
const keyCount = 200;

export const move: Scenario = {
  name: 'move',
  async run(runs) {
    const figures: Figure[] = [];
    const cluster = await startKeepers(2);
    try {
      for (const [prefix, name] of [
        ['/keep', 'keys without files'],
        ['/db', 'SQLite databases'],
      ] as const) {
        figures.push(...(await moves(cluster, prefix, name, movesFor(runs))));
      }
      figures.push(...(await join(cluster)));
    } finally {
      await cluster.dispose();
    }
    return figures;
  },
};

async function moves(cluster: Cluster, prefix: string, name: string, count: number): Promise<Figure[]> {
  const origin = cluster.routerUris[0]!;
  const still: number[] = [];
  const longest: number[] = [];
  let sent = 0;
  let failures = 0;
  for (let index = 0; index < count; index++) {
    const path = `${prefix}/move-${index % 20}`;
    await untilOk(origin + path);
    const load = startOpenLoop(origin, { paths: [path], everyMs: 2, requestsMax: 5_000 });
    const { owner } = await load.next('an answer', ({ status }) => status === 200);
    await new Promise(resolve => setTimeout(resolve, 60));
    const next = load.next('the next owner', answer => answer.status === 200 && answer.owner !== owner);
    const askedMs = performance.now();
    await moveKey(cluster, path);
    const movedMs = Math.max((await next).doneMs, performance.now());
    await load.stop();
    const around = (answer: Answer) => answer.doneMs >= askedMs && answer.sentMs <= movedMs;
    const waited = ({ doneMs, sentMs }: Answer) => doneMs - sentMs;
    longest.push(Math.max(...load.answers.filter(around).map(waited)));
    still.push(Math.max(...load.answers.filter(answer => answer.doneMs < askedMs).map(waited)));
    sent += load.sent;
    failures += failed(load.answers).length;
  }
  return [
    {
      name: `planned move of ${name}: longest wait`,
      unit: 'ms',
      samples: longest,
      peer: { name: 'longest wait just before', samples: still },
      aim: 'p99 ≤ 20',
    },
    {
      name: `planned move of ${name}: failed of ${sent} requests, ${count} moves`,
      unit: 'requests',
      samples: [failures],
      peer: null,
      aim: '0',
    },
  ];
}

/** 100,000 requests on 200 keys, keys moved by hand meanwhile, and a host that joins. */
async function join(cluster: Cluster): Promise<Figure[]> {
  const origin = cluster.routerUris[0]!;
  const paths = Array.from({ length: keyCount }, (_, index) => `/keep/join-${index}`);
  for (const path of paths) await untilOk(origin + path);
  const load = startOpenLoop(origin, { paths, everyMs: 2, requestsMax: requestsWanted });
  const before = await ownersOf(cluster);
  await cluster.editSettings(document => {
    document.componentInstances.find(({ id }) => id === 'keepers')!.instances = 3;
  });
  await whole(cluster, 'keepers', 3);
  const after = await until(
    'the new host has its share',
    async () => {
      const owners = await ownersOf(cluster);
      const counts = Map.groupBy(owners.values(), owner => owner);
      const least = Math.min(...[...counts.values()].map(keys => keys.length));
      return counts.size === 3 && least >= (owners.size / 3) * 0.8 && owners;
    },
    120_000,
  );
  const moved = [...after].filter(([key, owner]) => before.get(key) !== owner).length;
  let byHand = 0;
  while (load.sent < requestsWanted) {
    await moveKey(cluster, paths[byHand++ % paths.length]!);
    await new Promise(resolve => setTimeout(resolve, 250));
  }
  await load.stop();
  const waited = load.answers.map(({ doneMs, sentMs }) => doneMs - sentMs);
  return [
    {
      name: `a third host joins: keys moved of ${before.size}`,
      unit: 'keys',
      samples: [moved],
      peer: { name: 'its share', samples: [Math.floor(before.size / 3)] },
      aim: 'its share',
    },
    {
      name: `${load.sent} requests meanwhile and during ${byHand} moves: failed`,
      unit: 'requests',
      samples: [failed(load.answers).length],
      peer: null,
      aim: '0',
    },
    {
      name: 'p99 of what they waited',
      unit: 'ms',
      samples: [percentile(waited, 0.99)],
      peer: { name: 'their median', samples: [percentile(waited, 0.5)] },
      aim: '–',
    },
  ];
}

async function moveKey(cluster: Cluster, path: string): Promise<void> {
  const response = await cluster.master(`/api/master/resources/${encodeURIComponent(path)}/move`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${text}`);
}

/** The owner of each key of the keepers. */
async function ownersOf(cluster: Cluster): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  const response = await cluster.master('/api/master/resources?instance=keepers&limit=1000');
  for (const { key, owner } of (await response.json()) as ResourceInfo[]) owners.set(key, owner.processId);
  return owners;
}
