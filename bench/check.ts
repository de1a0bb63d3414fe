/**
 * `npm run bench -- --check`: whether a request costs more than it did. What router and hosts spend on a request is taken as a ratio to
 * what http-proxy and its node:http hosts spend on one in the same rounds, for what slows the machine slows these alike, and compared with the ratios in `baseline.json`: instructions where
 * the machine counts them, CPU time elsewhere. No time of the wall is compared with anything.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { countInstructions, countsInstructions } from './instructions.ts';
import { wrk } from './load/wrk.ts';
import { median } from './measure.ts';
import { cpuMsOf } from './peers/bare-process.ts';
import { httpProxy, ours, smallRequests, startSubjects, warmUp, type Subject } from './scenarios/router.ts';

type Unit = 'instructions' | 'CPU time';
/** Of what a request costs, to the peer's. */
export type Ratios = Record<'router' | 'hosts', number>;
type Baseline = Partial<Record<Unit, Ratios>>;

const file = join(import.meta.dirname, 'baseline.json');
/** Of the stored ratio: CPU time of a shared machine is not exact even as a ratio, instructions nearly are. */
const tolerance: Record<Unit, number> = { instructions: 0.1, 'CPU time': 0.3 };
const rounds = 5;
const seconds = 2;

export interface Verdict {
  name: keyof Ratios;
  stored: number;
  measured: number;
  /** How far above the stored one it may be. */
  allowed: number;
  worse: boolean;
}

/** Pure. */
export function judge(stored: Ratios, measured: Ratios, unit: Unit): Verdict[] {
  return (['router', 'hosts'] as const).map(name => {
    const allowed = stored[name] * (1 + tolerance[unit]);
    return { name, stored: stored[name], measured: measured[name], allowed, worse: measured[name] > allowed };
  });
}

/** Measures and compares, or stores what it measured. Resolves to whether all is as good as it was. */
export async function check(options: { store: boolean; say: (line: string) => void }): Promise<boolean> {
  const unit: Unit = countsInstructions() ? 'instructions' : 'CPU time';
  const measured = await measureRatios(unit);
  const baseline: Baseline = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Baseline) : {};
  if (options.store) {
    writeFileSync(file, `${JSON.stringify({ ...baseline, [unit]: measured }, null, 2)}\n`);
    options.say(`stored, by ${unit}: router ${measured.router}, hosts ${measured.hosts}, times http-proxy's`);
    return true;
  }
  const stored = baseline[unit];
  if (!stored) throw new Error(`${file} has no ratios of ${unit}: npm run bench -- --check --store`);
  const verdicts = judge(stored, measured, unit);
  for (const verdict of verdicts) {
    const [now, before, allowed] = [verdict.measured, verdict.stored, verdict.allowed].map(value =>
      value.toFixed(2),
    );
    const outcome = verdict.worse ? 'WORSE' : 'ok';
    options.say(
      `${outcome}: ${verdict.name}, ${unit} of a request, times that of http-proxy: ${now}, it was ${before}, allowed ${allowed}`,
    );
  }
  return verdicts.every(({ worse }) => !worse);
}

async function measureRatios(unit: Unit): Promise<Ratios> {
  const subjects = await startSubjects([httpProxy, ours]);
  try {
    const [peer, holdfast] = subjects.all as [Subject, Subject];
    for (const subject of [peer, holdfast]) await warmUp(subject);
    const samples: Record<keyof Ratios, number[]> = { router: [], hosts: [] };
    for (let round = 0; round < rounds; round++) {
      const theirs = await costs(unit, peer);
      const own = await costs(unit, holdfast);
      samples.router.push(own.proxy / theirs.proxy);
      samples.hosts.push(own.hosts / theirs.hosts);
    }
    const round2 = (values: number[]) => Math.round(median(values) * 100) / 100;
    return { router: round2(samples.router), hosts: round2(samples.hosts) };
  } finally {
    await subjects.stop();
  }
}

/** What a request costs the proxy, and the hosts. */
async function costs(
  unit: Unit,
  { port, proxyPids, hostPids }: Subject,
): Promise<{ proxy: number; hosts: number }> {
  let requests = 0;
  const load = async () => {
    ({ requests } = await wrk({ ...smallRequests, port, connections: 64, seconds }));
  };
  const counted = unit === 'instructions' ? countInstructions : countCpuMs;
  let proxy = 0;
  const hosts = await counted(hostPids, async () => {
    proxy = await counted(proxyPids, load);
  });
  return { proxy: proxy / requests, hosts: hosts / requests };
}

async function countCpuMs(pids: readonly number[], work: () => Promise<void>): Promise<number> {
  const total = () => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const before = total();
  await work();
  return total() - before;
}
