/**
 * Small requests through the router to owners, beside what people put in front of Node: all in turn on the same machine, 64 connections,
 * 1,000 keys, answers of about 200 bytes. The proxy is on one core. CPU time of proxy and hosts is counted apart, for requests/s depend on
 * what else two cores have to do, and CPU time hardly does.
 */
import { startBenchCluster, type BenchCluster } from '../bench-cluster.ts';
import { note, type Comparison, type Ratio } from '../comparison.ts';
import { wrk } from '../load/wrk.ts';
import type { Scenario } from '../measure.ts';
import { profileProcess } from '../profile.ts';
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

/** Code is compiled by how often it ran: on a busy machine that takes longer. */
const warmRequests = 40_000;
const warmTurnsMax = 5;
const loadSeconds = 2;
const headerRoundsMax = 3;
const profileMs = 4_000;
export const ours = 'Holdfast: router + component hosts';
export const haproxy = 'HAProxy + node:http hosts';
export const direct = 'direct, one node:http host';
export const httpProxy = 'http-proxy + node:http hosts';
const replyFrom = '@fastify/reply-from + node:http hosts';
const haproxyAlone = 'HAProxy + nginx hosts that cost little';
const starts: Record<string, (upstreams: readonly Peer[]) => Promise<Peer>> = {
  [haproxy]: startHaproxy,
  'nginx + node:http hosts': startNginx,
  [haproxyAlone]: startHaproxy,
  [httpProxy]: upstreams => startNodeProxy('http-proxy', upstreams),
  [replyFrom]: upstreams => startNodeProxy('reply-from', upstreams),
};
const others = Object.keys(starts).filter(name => name !== haproxy);

/** Who is measured: where to ask, and whose CPU time counts. */
export interface Subject {
  name: string;
  port: number;
  proxyPids: readonly number[];
  hostPids: readonly number[];
}

export interface Subjects {
  all: Subject[];
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
      for (let round = 0; round < Math.min(runs, headerRoundsMax); round++) {
        for (const subject of few)
          note(headers, subject.name, await measure(subject, { browserHeaders: true }));
      }
      return [plain, headers];
    } finally {
      await subjects.stop();
    }
  },
  async profile(write) {
    const subjects = await startSubjects([ours]);
    try {
      const [{ port, proxyPids, hostPids }] = subjects.all as [Subject];
      await warmUp({ port });
      const load = wrk({ ...smallRequests, port, connections: 64, seconds: 12 });
      write('router', await profileProcess(proxyPids[0]!, profileMs));
      write('component host', await profileProcess(hostPids[0]!, profileMs));
      await load;
    } finally {
      await subjects.stop();
    }
  },
};

/** Those that are named, in the order of the names; default: all. */
export async function startSubjects(
  names: readonly string[] = [direct, haproxy, ...others, ours],
  { webSockets = false } = {},
): Promise<Subjects> {
  await ensurePrograms(['haproxy', 'nginx', 'wrk', 'taskset']);
  if (webSockets || names.some(name => name === httpProxy || name === replyFrom)) ensureNpmPeers();
  const started: Peer[] = [];
  const begin = async (peer: Promise<Peer>) => {
    started.push(await peer);
    return started.at(-1)!;
  };
  const pair = async (start: () => Promise<Peer>) => [await begin(start()), await begin(start())] as const;
  let bench: BenchCluster | null = null;
  const stop = async () => {
    await bench?.cluster.dispose();
    for (const peer of started) await peer.stop();
  };
  try {
    const hosts = await pair(() => startUpstream({ webSockets }));
    const all: Subject[] = [];
    for (const name of names) {
      if (name === ours) {
        bench = await startBenchCluster();
        const { routerPort: port, routerPids: proxyPids, hostPids } = bench;
        all.push({ name, port, proxyPids, hostPids });
      } else if (name === direct) {
        all.push({ name, port: hosts[0].port, proxyPids: [], hostPids: [hosts[0].pid] });
      } else {
        const upstreams = name === haproxyAlone ? await pair(startCheapUpstream) : hosts;
        const { port, pid } = await begin(starts[name]!(upstreams));
        all.push({ name, port, proxyPids: [pid], hostPids: upstreams.map(upstream => upstream.pid) });
      }
    }
    return { all, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export const smallRequests = { prefix: '/bench/', keys: 1_000, bytesMin: 250 };

/** Opens all keys, and lets every process compile what it needs; each body is compared with what its key must give. */
export async function warmUp({ port }: { port: number }): Promise<void> {
  await wrk({ ...smallRequests, port, connections: 8, seconds: 2, compare: true });
  for (let requests = 0, turn = 0; requests < warmRequests && turn < warmTurnsMax; turn++) {
    requests += (await wrk({ ...smallRequests, port, connections: 64, seconds: 2 })).requests;
  }
}

/** One round: 64 connections, then one. */
async function measure(
  { port, proxyPids, hostPids }: Subject,
  { browserHeaders = false } = {},
): Promise<Record<string, number>> {
  const cpuMs = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const before = { proxy: cpuMs(proxyPids), hosts: cpuMs(hostPids) };
  const many = await wrk({ ...smallRequests, port, connections: 64, seconds: loadSeconds, browserHeaders });
  const perRequest = (spentMs: number) => (spentMs * 1_000) / many.requests;
  const proxy = perRequest(cpuMs(proxyPids) - before.proxy);
  const hosts = perRequest(cpuMs(hostPids) - before.hosts);
  const one = await wrk({ ...smallRequests, port, connections: 1, seconds: 1, browserHeaders });
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
