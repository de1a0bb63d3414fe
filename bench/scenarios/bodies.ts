/**
 * Large bodies through the router, down and up, beside HAProxy, with the memory that it takes; then 1,000 readers that are slow, and
 * quick requests beside them. What a proxy or host keeps for a slow reader is bounded, or it shows here.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { note, type Comparison, type Ratio } from '../comparison.ts';
import { wrk } from '../load/wrk.ts';
import type { Scenario } from '../measure.ts';
import { residentBytes, watchMemory } from '../memory-peak.ts';
import { cpuMsOf } from '../peers/bare-process.ts';
import { direct, haproxy, ours, startSubjects, type Subject } from './router.ts';

const megabyte = 2 ** 20;
const seconds = 2;
const slowReaders = 1_000;
const settleMs = 3_000;

export const bodies: Scenario = {
  name: 'bodies',
  async run(runs) {
    const subjects = await startSubjects([direct, haproxy, ours]);
    try {
      const [down, up] = (['responses', 'requests'] as const).map(what =>
        comparison(`${what === 'requests' ? 'Requests' : 'Responses'} of 1 MiB, 16 connections`, metrics, [
          ratio('1/s to HAProxy', metrics[0], '≥ 1'),
        ]),
      ) as [Comparison, Comparison];
      const slow = comparison(
        `${slowReaders} slow readers of 4 MiB, small requests on 16 connections beside them`,
        [
          'proxy, KiB for each reader',
          'hosts, KiB for each reader',
          'requests/s before',
          'requests/s beside',
          'p99 before, ms',
          'p99 beside, ms',
        ],
        [ratio('requests/s beside, to HAProxy', 'requests/s beside', '≥ 1')],
      );
      for (const subject of subjects.all) await checkBodies(subject);
      for (let round = 0; round <= runs; round++) {
        for (const subject of subjects.all) {
          const [got, sent] = [await load(subject, 'down'), await load(subject, 'up')];
          if (round === 0) continue; // the first one lets them compile
          note(down, subject.name, got);
          note(up, subject.name, sent);
        }
      }
      for (let round = 0; round < Math.min(runs, 2); round++) {
        for (const subject of subjects.all.slice(1)) note(slow, subject.name, await beside(subject));
      }
      return [down, up, slow];
    } finally {
      await subjects.stop();
    }
  },
};

const metrics = [
  '1/s',
  'CPU of the proxy, µs',
  'CPU of the hosts, µs',
  'most memory of the proxy, MiB',
  'of the hosts, MiB',
] as const;

/** Both directions once, every byte counted. */
async function checkBodies({ port, name }: Subject): Promise<void> {
  const origin = `http://127.0.0.1:${port}/bench`;
  const got = Buffer.from(await (await fetch(`${origin}/big-k0000`)).arrayBuffer());
  if (got.length !== megabyte || got.some(byte => byte !== 98)) throw new Error(`${name}: a wrong body`);
  const sent = await fetch(`${origin}/up-k0000`, { method: 'POST', body: Buffer.alloc(megabyte) });
  const text = await sent.text();
  if (text !== JSON.stringify({ bytes: megabyte })) throw new Error(`${name}: ${sent.status} ${text}`);
}

async function load(subject: Subject, direction: 'down' | 'up'): Promise<Record<string, number>> {
  const { port, proxyPids, hostPids } = subject;
  const cpuMs = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const before = [cpuMs(proxyPids), cpuMs(hostPids)] as const;
  const peaks = [watchMemory(proxyPids), watchMemory(hostPids)] as const;
  const { perSecond, requests } = await wrk({
    port,
    connections: 16,
    seconds,
    prefix: direction === 'down' ? '/bench/big-' : '/bench/up-',
    keys: 16,
    ...(direction === 'down' ? { bytesMin: megabyte } : { bytesMin: 17, bodyBytes: megabyte }),
  });
  const values = [
    perSecond,
    ((cpuMs(proxyPids) - before[0]) * 1_000) / requests,
    ((cpuMs(hostPids) - before[1]) * 1_000) / requests,
    ...peaks.map(peak => peak() / megabyte),
  ];
  return Object.fromEntries(metrics.map((metric, index) => [metric, values[index]!]));
}

async function beside({ port, proxyPids, hostPids }: Subject): Promise<Record<string, number>> {
  const quick = () => wrk({ port, connections: 16, seconds, prefix: '/bench/', keys: 1_000, bytesMin: 250 });
  await quick();
  const before = await quick();
  const memory = () => [residentBytes(proxyPids), residentBytes(hostPids)] as const;
  const [proxyBefore, hostsBefore] = memory();
  const readers = fork(join(import.meta.dirname, '../load/slow-readers.ts'), [
    String(port),
    String(slowReaders),
    '/bench/slow-',
  ]);
  const exited = once(readers, 'exit');
  try {
    await Promise.race([
      once(readers, 'message'),
      exited.then(([code]) => Promise.reject(new Error(`the slow readers ended with ${String(code)}`))),
    ]);
    await new Promise(resolve => setTimeout(resolve, settleMs));
    const [proxyAfter, hostsAfter] = memory();
    const together = await quick();
    if (readers.exitCode !== null) throw new Error('a slow stream broke');
    return {
      'proxy, KiB for each reader': (proxyAfter - proxyBefore) / 1_024 / slowReaders,
      'hosts, KiB for each reader': (hostsAfter - hostsBefore) / 1_024 / slowReaders,
      'requests/s before': before.perSecond,
      'requests/s beside': together.perSecond,
      'p99 before, ms': before.p99Us / 1_000,
      'p99 beside, ms': together.p99Us / 1_000,
    };
  } finally {
    readers.kill('SIGKILL');
    await exited;
  }
}

function comparison(title: string, metrics: readonly string[], ratios: readonly Ratio[]): Comparison {
  return { title, metrics, samples: {}, ratios };
}

function ratio(name: string, metric: string, aim: string): Ratio {
  return {
    name,
    of: { subject: ours, metrics: [metric] },
    to: { subject: haproxy, metrics: [metric] },
    aim,
  };
}
