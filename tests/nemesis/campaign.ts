/**
 * Breaks a running cluster round after round, under load, and checks what its clients saw and what its registers hold. One seed
 * picks the faults and their victims; the machine's own timing is not in our hands, so that a seed repeats the plan and not every interleaving.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/wait.ts';
import { checkFailures } from './check-availability.ts';
import { check } from './check.ts';
import { machineMs, startClients, type Clients } from './clients.ts';
import { createDice, type Dice } from './dice.ts';
import { createHistory, type FaultSpan, type History, type MayFail, type Violation } from './history.ts';
import { describeFailures, describeResult, figuresOf, type Figures } from './report.ts';
import type { Fault, Target } from './target.ts';

export interface CampaignOptions {
  /** Picks faults and victims, and what the clients do. */
  seed: number;
  rounds: number;
  /** Rounds that another seed picks, played after those on the same cluster. */
  more?: { seed: number; rounds: number };
  /** Names (or parts of names) of the faults to pick from; all by default. */
  only?: readonly string[];
  say: (text: string) => void;
  /**
   * Whether a failed request needs a fault that excuses it; default true. On a machine that is busy with other things, sessions of a second
   * end without any fault, and what is in flight then ends with an unknown outcome.
   */
  judgeFailures?: boolean;
  /** Ends it before its time; what has been started is ended all the same. */
  signal?: AbortSignal;
}

export interface CampaignResult extends Figures {
  violations: string[];
}

const workers = 16;
const calmMs = 300;
/** Most agents, hosts and managers notice within the calm what has happened to them; then it has to be settled. */
const staysHealedWithinMs = 30_000;
/** Above the time for which routers hold requests. */
const clientTimeoutMs = 25_000;
/** Generous: it bounds what is *never* served again; how long it takes is in the report. */
const servedWithinMs = 40_000;

/** Starts a target, breaks it and removes it. */
export async function runCampaign(
  start: (dice: Dice) => Promise<Target>,
  options: CampaignOptions,
): Promise<CampaignResult> {
  const { say } = options;
  const history = createHistory();
  const violations: string[] = [];
  const target = await start(createDice(options.seed));
  let kept = true;
  let figures: Figures;
  try {
    say(target.description);
    const parts = [options, ...(options.more ? [options.more] : [])].map(({ seed, rounds }) => {
      const dice = createDice(seed + 2);
      return { dice, plan: planRounds(target.faults, { rounds, only: options.only, dice }) };
    });
    const clients = startClients({
      routers: target.routers,
      registers: target.registers,
      history,
      dice: createDice(options.seed + 1),
      workers,
      readFiles: target.readFiles,
      timeoutMs: clientTimeoutMs,
    });
    try {
      const whole = async () => {
        await askForAll(target, clients);
        for (const { plan, dice } of parts) {
          for (const round of plan) await play(round, { target, history, clients, dice, say });
        }
      };
      await Promise.race([whole(), ...(options.signal ? [rejectsWhenAborted(options.signal)] : [])]);
    } catch (error) {
      violations.push(`the campaign was broken off: ${describe(error)}`);
    } finally {
      await clients.stop();
    }
    const contents = await target.contents();
    const found = check(history, contents, {
      servedWithinMs,
      judgeFailures: options.judgeFailures ?? true,
    });
    violations.push(...found.map(wordsOf));
    figures = figuresOf(history, { contents, moves: target.moves() });
    violations.push(...(await target.stop()));
    kept = violations.length > 0;
  } finally {
    await target.stop();
    await target.dispose({ keepFolder: kept });
    if (kept) say(`what is left of it is kept: ${target.directory}`);
  }
  for (const line of describeResult(figures)) say(line);
  return { ...figures, violations };
}

function rejectsWhenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(new Error('it was interrupted'));
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

interface Play {
  target: Target;
  history: History;
  clients: Clients;
  dice: Dice;
  say: (text: string) => void;
}

/** One round: breaks, waits until the cluster has healed and stays so, and asks for every key through every router. */
async function play(round: readonly Fault[], { target, history, clients, dice, say }: Play): Promise<void> {
  const startMs = machineMs();
  const spans = round.map(({ name, mayFail }): FaultSpan => ({
    name,
    mayFail: round.length > 1 ? together(round) : mayFail,
    startMs,
    overMs: Infinity,
    endMs: Infinity,
    routers: target.routers,
  }));
  history.faults.push(...spans);
  const before = history.operations.length;
  const broken = await Promise.all(round.map(fault => fault.inject(dice)));
  const overMs = machineMs();
  for (const span of spans) span.overMs = overMs;
  await healed(target, Math.max(...round.map(fault => fault.healMs)));
  const healMs = machineMs() - overMs;
  await askForAll(target, clients);
  await sleep(calmMs);
  await healed(target, staysHealedWithinMs);
  spans.forEach((span, index) => {
    span.routers = broken[index]!;
    span.endMs = machineMs();
  });
  const name = round.map(fault => fault.name).join(' + ');
  const operations = history.operations.slice(before);
  const bad = describeFailures(operations);
  say(`${name}: healed in ${healMs.toFixed(0)} ms, ${operations.length} requests, ${bad}`);
  for (const violation of checkFailures({ operations, faults: history.faults }).slice(0, 5))
    say(`  ${wordsOf(violation)}`);
}

/**
 * Two at once may end sessions that one alone leaves in time; and what outlasts the other's repair may outlast the time for which
 * routers hold requests.
 */
function together(round: readonly Fault[]): MayFail {
  return round.some(({ mayFail, needs }) => mayFail === 'all' || needs !== undefined) ? 'all' : 'unsafe';
}

/** Resolves when every key has been served through every router. */
async function askForAll(target: Target, clients: Clients): Promise<void> {
  const served = (key: string, router: string) =>
    until(
      `${key} is served through ${router}`,
      async () => (await clients.read(key, router)).outcome === 'ok',
      servedWithinMs,
    );
  await Promise.all(
    [...target.registers.keys()].map(async key => {
      for (const router of target.routers) await served(key, router);
    }),
  );
}

async function healed(target: Target, deadlineMs: number): Promise<void> {
  await until(
    'the cluster heals',
    async () => {
      const problems = await target.problems();
      if (problems.length > 0) throw new Error(problems.join(', '));
      return true;
    },
    deadlineMs,
  );
}

/** Each fault once before any comes again, now and then two at once. */
function planRounds(
  all: readonly Fault[],
  { rounds, only, dice }: { rounds: number; only: readonly string[] | undefined; dice: Dice },
): Fault[][] {
  const wanted = all.filter(({ name }) => only === undefined || only.some(part => name.includes(part)));
  if (wanted.length === 0)
    throw new RangeError(`no such fault; there are: ${all.map(({ name }) => name).join(', ')}`);
  const plan: Fault[][] = [];
  let deck: Fault[] = [];
  while (plan.length < rounds) {
    if (deck.length === 0) deck = dice.shuffle(wanted);
    const fault = deck.pop()!;
    const partners = wanted.filter(other => other !== fault && mayMeet(fault, other));
    const paired = plan.length >= wanted.length && partners.length > 0 && dice.below(3) === 0;
    plan.push(paired ? [fault, dice.pick(partners)] : [fault]);
  }
  return plan;
}

function mayMeet({ needs }: Fault, other: Fault): boolean {
  if (needs === 'everything' || other.needs === 'everything') return false;
  return needs === undefined || needs !== other.needs;
}

function wordsOf({ invariant, key, message }: Violation): string {
  return `${invariant}: ${key}: ${message}`;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}
