/**
 * Small requests through the router to owners, beside what people put in front of Node: all in turn on the same machine, 64 connections,
 * 1,000 keys, answers of about 200 bytes. The proxy is on one core. CPU time of proxy and hosts is counted apart, for requests/s depend on
 * what else two cores have to do, and CPU time hardly does.
 */
import { startBenchCluster, type BenchCluster } from '../bench-cluster.ts';
import { note, type Comparison, type Ratio } from '../comparison.ts';
import { wrk } from '../load/wrk.ts';
import type { Scenario } from '../measure.ts';
import { cpuMsOf } from '../peers/bare-process.ts';
import { ensureNpmPeers, ensurePrograms } from '../peers/install.ts';
import {
  startCheapUpstream,
  startHaproxy,
  startNginx,
  startNodeProxy,
  startUpstream,
  type Peer,
} from '../peers/proxies.ts';

const loadSeconds = 3;
export const ours = 'Holdfast: router + component hosts';
export const haproxy = 'HAProxy + node:http hosts';
const httpProxy = 'http-proxy + node:http hosts';

/** Who is measured: where to ask, and whose CPU time counts. */
interface Subject {
  name: string;
  port: number;
  proxyPids: readonly number[];
  hostPids: readonly number[];
}

export interface Subjects {
  all: Subject[];
  bench: BenchCluster;
  stop(): Promise<void>;
}

export const router: Scenario = {
  name: 'router',
  async run(runs) {
    const subjects = await startSubjects();
    try {
      for (const subject of subjects.all) await warmUp(subject);
      const plain = comparison('Small requests, 64 connections, 1,000 keys');
      const headers = comparison('The same with ten headers of a browser');
      for (let round = 0; round < runs; round++) {
        for (const subject of subjects.all) note(plain, subject.name, await measure(subject));
      }
      const few = subjects.all.filter(
        ({ name }) => !name.startsWith('direct') && !name.includes('nginx hosts'),
      );
      for (let round = 0; round < runs; round++) {
        for (const subject of few)
          note(headers, subject.name, await measure(subject, { browserHeaders: true }));
      }
      return [plain, headers];
    } finally {
      await subjects.stop();
    }
  },
};

export async function startSubjects(): Promise<Subjects> {
  await ensurePrograms(['haproxy', 'nginx', 'wrk', 'taskset']);
  ensureNpmPeers();
  const started: Peer[] = [];
  const begin = async (peer: Promise<Peer>) => {
    started.push(await peer);
    return started.at(-1)!;
  };
  let bench: BenchCluster | null = null;
  const stop = async () => {
    await bench?.cluster.dispose();
    for (const peer of started) await peer.stop();
  };
  try {
    const hosts = [await begin(startUpstream()), await begin(startUpstream())];
    const cheap = [await begin(startCheapUpstream()), await begin(startCheapUpstream())];
    const behind = (name: string, { port, pid }: Peer, upstreams: readonly Peer[]): Subject => ({
      name,
      port,
      proxyPids: [pid],
      hostPids: upstreams.map(upstream => upstream.pid),
    });
    const all: Subject[] = [
      {
        name: 'direct, one node:http host',
        port: hosts[0]!.port,
        proxyPids: [],
        hostPids: [hosts[0]!.pid],
      },
      behind(haproxy, await begin(startHaproxy(hosts)), hosts),
      behind('nginx + node:http hosts', await begin(startNginx(hosts)), hosts),
      behind('HAProxy + nginx hosts that cost little', await begin(startHaproxy(cheap)), cheap),
      behind(httpProxy, await begin(startNodeProxy('http-proxy', hosts)), hosts),
      behind(
        '@fastify/reply-from + node:http hosts',
        await begin(startNodeProxy('reply-from', hosts)),
        hosts,
      ),
    ];
    bench = await startBenchCluster();
    const { routerPort: port, routerPids: proxyPids, hostPids } = bench;
    all.push({ name: ours, port, proxyPids, hostPids });
    return { all, bench, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const target = { prefix: '/bench/', keys: 1_000, bytesMin: 250 };

/** Opens all keys, and lets every process compile what it needs; each body is compared with what its key must give. */
export async function warmUp({ port }: { port: number }): Promise<void> {
  await wrk({ ...target, port, connections: 8, seconds: 2, compare: true });
  await wrk({ ...target, port, connections: 64, seconds: 2 });
}

/** One round: 64 connections, then one. */
export async function measure(
  { port, proxyPids, hostPids }: Subject,
  options: { browserHeaders?: boolean; seconds?: number } = {},
): Promise<Record<string, number>> {
  const { browserHeaders = false, seconds = loadSeconds } = options;
  const cpuMs = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const before = { proxy: cpuMs(proxyPids), hosts: cpuMs(hostPids) };
  const many = await wrk({ ...target, port, connections: 64, seconds, browserHeaders });
  const perRequest = (spentMs: number) => (spentMs * 1_000) / many.requests;
  const proxy = perRequest(cpuMs(proxyPids) - before.proxy);
  const hosts = perRequest(cpuMs(hostPids) - before.hosts);
  const one = await wrk({ ...target, port, connections: 1, seconds: 1, browserHeaders });
  return {
    'requests/s': many.perSecond,
    'p99, ms': many.p99Us / 1_000,
    'alone, p50, µs': one.p50Us,
    'CPU of the proxy, µs': proxy,
    'CPU of the hosts, µs': hosts,
  };
}

function comparison(title: string): Comparison {
  const one = (name: string, metric: string, to: string, aim: string): Ratio => ({
    name,
    of: { subject: ours, metrics: [metric] },
    to: { subject: to, metrics: [metric] },
    aim,
  });
  const both = ['CPU of the proxy, µs', 'CPU of the hosts, µs'];
  return {
    title,
    metrics: ['requests/s', 'p99, ms', 'alone, p50, µs', ...both],
    samples: {},
    ratios: [
      one('requests/s to HAProxy', 'requests/s', haproxy, '≥ 1.0, better 1.2'),
      one('p99 to HAProxy', 'p99, ms', haproxy, '≤ 1.5'),
      one('CPU of the proxy to HAProxy', both[0]!, haproxy, '–'),
      {
        name: 'CPU of proxy and hosts together to HAProxy',
        of: { subject: ours, metrics: both },
        to: { subject: haproxy, metrics: both },
        aim: '≤ 0.6',
      },
      one('requests/s to http-proxy', 'requests/s', httpProxy, '≥ 4'),
    ],
  };
}
