/**
 * Breaks a running cluster round after round, under load, and checks what its clients saw. One seed picks the faults and
 * their victims; the machine's own timing is not in our hands, so that a seed repeats the plan and not every interleaving.
 */
import type { PlanAction } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { makeKeeperPackage } from '../support/make-package.ts';
import { createRegister, startClients } from './clients.ts';
import { createDice, type Dice } from './dice.ts';
import { deadAfterMs, faults, registers, type Fault, type World } from './faults.ts';
import { check, createHistory, type History, type Row } from './history.ts';
import { processesOf, remaining, strays } from './machine.ts';

export interface CampaignOptions {
  seed: number;
  rounds: number;
  /** Names (or parts of names) of the faults to pick from; all by default. */
  only?: readonly string[];
  say: (text: string) => void;
}

export interface CampaignResult {
  violations: string[];
  requests: number;
  acknowledged: number;
  /** The longest answer to a GET, milliseconds. */
  slowestReadMs: number;
  healedMs: { name: string; ms: number }[];
}

const ttlMs = 1_500;
const holdMs = 8_000;
const workers = 8;
const calmMs = 300;
/** A coordinator lingers for some seconds without clients. */
const goneMs = 5_000;
const keepers = Array.from({ length: 16 }, (_, index) => `/keep/k${index}`);
const managerSettings = { leaseTtlMs: ttlMs, livenessMs: 300, nodeTimeoutMs: 700, deadAfterMs };
/** Never given up: what is killed here is meant to come back. */
const restart = { maxAttempts: 1_000, windowMs: 60_000, backoffMs: 100, backoffMaxMs: 1_000 };

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { say } = options;
  const dice = createDice(options.seed);
  const nowMs = () => performance.now();
  const history = createHistory();
  const result: CampaignResult = {
    violations: [],
    requests: 0,
    acknowledged: 0,
    slowestReadMs: 0,
    healedMs: [],
  };
  const cluster = await prepareCluster();
  try {
    const world: World = { cluster, dice, ttlMs, keeperVersion: 1 };
    const clients = startClients({
      routers: cluster.routerUris,
      registers,
      keepers,
      history,
      dice: createDice(options.seed + 1),
      workers,
      nowMs,
    });
    try {
      for (const round of planRounds(options, dice)) {
        const startMs = nowMs();
        const name = round.map(fault => fault.name).join(' + ');
        const spans = round.map(({ name, mayFail }) => ({
          name,
          // Two at once may end sessions that one alone leaves in time.
          mayFail: mayFail === 'nothing' && round.length > 1 ? ('unsafe' as const) : mayFail,
          startMs,
          endMs: Infinity,
          routers: cluster.routerUris as readonly string[],
        }));
        history.faults.push(...spans);
        const broken = await Promise.all(round.map(fault => fault.inject(world)));
        const overMs = nowMs();
        await healed(cluster, Math.max(...round.map(fault => fault.healMs)));
        const ms = Math.round(nowMs() - overMs);
        await new Promise(resolve => setTimeout(resolve, calmMs));
        await healed(cluster, 5_000); // and stays so
        spans.forEach((span, index) => {
          span.routers = broken[index]!;
          span.endMs = nowMs();
        });
        result.healedMs.push({ name, ms });
        say(`${name}: healed in ${ms} ms, ${clients.count()} requests so far`);
      }
    } finally {
      await clients.stop();
      result.requests = clients.count();
    }
    result.violations.push(...check(history, await readRegisters(cluster)));
  } catch (error) {
    result.violations.push(describe(error), ...check(history, new Map()));
  } finally {
    result.violations.push(...(await endsWithoutTrace(cluster)));
    // What went wrong is looked for in its logs.
    if (result.violations.length === 0) await cluster.dispose();
    else say(`its folder is kept: ${cluster.directory}`);
  }
  return { ...result, ...figuresOf(history) };
}

/** Each fault once before any comes again, now and then two at once. */
function planRounds({ rounds, only }: CampaignOptions, dice: Dice): Fault[][] {
  const wanted = faults.filter(({ name }) => only === undefined || only.some(part => name.includes(part)));
  if (wanted.length === 0)
    throw new RangeError(`no such fault; there are: ${faults.map(({ name }) => name).join(', ')}`);
  const plan: Fault[][] = [];
  let deck: Fault[] = [];
  while (plan.length < rounds) {
    if (deck.length === 0) deck = dice.shuffle(wanted);
    const fault = deck.pop()!;
    const partners = wanted.filter(other => other !== fault && !other.alone && !fault.alone);
    const paired = plan.length >= wanted.length && partners.length > 0 && dice.below(3) === 0;
    plan.push(paired ? [fault, dice.pick(partners)] : [fault]);
  }
  return plan;
}

async function prepareCluster(): Promise<Cluster> {
  const cluster = await startCluster({
    nodes: 3,
    routers: 2,
    edit(document) {
      Object.assign(document, { sessionTtlMs: ttlMs, holdMs });
      for (const instance of document.componentInstances) {
        instance.restart = restart;
        if (instance.id === 'node-manager') Object.assign(instance.settings as object, managerSettings);
      }
    },
  });
  try {
    const response = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: makeKeeperPackage('1.0.0'),
    });
    if (!response.ok) throw new Error(await response.text());
    await cluster.editSettings(document => {
      const update = { healthyAfterMs: 300 };
      document.componentInstances.push({
        id: 'keepers',
        packageName: 'keeper',
        instances: 3,
        restart,
        update,
      });
      document.routes.push({ pathPrefix: '/keep', componentInstanceId: 'keepers' });
    });
    await healed(cluster, 30_000);
    for (const key of registers) {
      await until(`${key} is there`, async () => (await sql(cluster, key, createRegister)) !== null);
    }
    for (const router of cluster.routerUris) {
      for (const key of keepers) await until(`${key} is there`, async () => (await fetch(router + key)).ok);
    }
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

/** All that shall run runs, nothing is left to do, nothing is left over. */
async function healed(cluster: Cluster, deadlineMs: number): Promise<void> {
  await until(
    'the cluster heals',
    async () => {
      // The dry run looks at all nodes first; the status shows what it saw.
      const { actions } = (await (await cluster.master('/api/master/plan')).json()) as {
        actions: PlanAction[];
      };
      if (actions.length > 0) throw new Error(JSON.stringify(actions));
      const { instances, nodes } = await cluster.status();
      const missing = [
        ...nodes.filter(node => node.state !== 'ready').map(node => `${node.networkName} is ${node.state}`),
        ...instances
          .filter(({ desired, running, live }) => running !== desired || live !== desired)
          .map(
            ({ id, desired, running, live, problems }) =>
              `${id} ${running}/${live}/${desired} ${problems.join('; ')}`,
          ),
      ];
      if (missing.length > 0) throw new Error(missing.join(', '));
      const ids = (await cluster.processes()).map(({ settingsId }) => settingsId?.replace(/\/[^/]*$/, ''));
      const twice = ids.filter((id, index) => id !== undefined && ids.indexOf(id) !== index);
      if (twice.length > 0) throw new Error(`twice: ${twice.join(', ')}`);
      const leftOver = strays(cluster);
      if (leftOver.length > 0) throw new Error(leftOver.join(', '));
      return true;
    },
    deadlineMs,
  );
}

async function readRegisters(cluster: Cluster): Promise<Map<string, Row[]>> {
  const found = new Map<string, Row[]>();
  for (const key of registers) {
    const rows = await until(`${key} can be read`, () =>
      sql(cluster, key, 'SELECT id, value FROM register ORDER BY id'),
    );
    found.set(key, rows as Row[]);
  }
  return found;
}

async function sql(cluster: Cluster, key: string, query: string): Promise<unknown[] | null> {
  const response = await fetch(cluster.routerUris[0]! + key, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return response.ok ? ((await response.json()) as { results: unknown[] }).results : null;
}

async function endsWithoutTrace(cluster: Cluster): Promise<string[]> {
  const all = processesOf(cluster.directory);
  await cluster.stop();
  try {
    await until('nothing is left', async () => remaining(all).length === 0, goneMs);
    return [];
  } catch {
    return remaining(all).map(({ pid }) => {
      const { command } = all.find(one => one.pid === pid)!;
      return `process ${pid} outlived the cluster by ${goneMs} ms: ${command}`;
    });
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}

function figuresOf(history: History): Pick<CampaignResult, 'acknowledged' | 'slowestReadMs'> {
  return {
    acknowledged: history.writes.filter(write => write.outcome === 'acknowledged').length,
    slowestReadMs: Math.round(
      history.reads.reduce((slowest, read) => Math.max(slowest, read.endMs - read.startMs), 0),
    ),
  };
}
