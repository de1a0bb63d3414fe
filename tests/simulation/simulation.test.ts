/** The proof by simulation, as CI runs it. `npm run simulate` runs more of it, and replays what it finds. */
import assert from 'node:assert/strict';
import { runCampaign } from './campaign.ts';
import { simulate } from './simulate.ts';
import type { Count, Statistics } from './statistics.ts';

const schedules = Number(process.env['HF_SIMULATION_SEEDS'] ?? 100_000);
const firstSeed = Number(process.env['HF_SIMULATION_SEED'] ?? 1);

/** How often each of these must have happened in 1,000 schedules at least: about a third of what was seen. */
const leastPerThousand: Partial<Record<Count, number>> = {
  timedSchedules: 600,
  untimedSchedules: 100,
  faultlessSchedules: 100,
  scheduleAtTheRateBound: 500,
  lost: 1_000,
  answersLost: 1_000,
  duplicated: 500,
  slow: 2_000,
  partitions: 200,
  oneWayPartitions: 100,
  eventsReset: 700,
  freezes: 250,
  suspensions: 200,
  crashes: 200,
  deathsProven: 100,
  deathsUnproven: 80,
  storeCrashes: 250,
  storeStalls: 300,
  storeForgets: 100,
  storeGoesBack: 80,
  foreignFences: 80,
  wallClockJumps: 200,
  storeClockJumps: 200,
  sessionsLost: 400,
  sessionsResumed: 300,
  sessionsExpired: 400,
  sessionsDied: 100,
  claims: 2_500,
  takeovers: 1_000,
  opens: 2_500,
  openFailures: 40,
  opensFenced: 50,
  raises: 50,
  drains: 150,
  moves: 300,
  handedOff: 400,
  transfers: 300,
  releases: 800,
  passivations: 700,
  pauses: 150,
  resumes: 150,
  adopted: 200,
  adoptRefused: 10,
  recoveringAnswers: 2_000,
  pausedAnswers: 200,
  acknowledged: 10_000,
  reads: 2_000,
  commits: 8_000,
  unfencedCommits: 2_000,
  notExecuted: 100,
  unknownOutcomes: 300,
  refusals: 1_000,
  unreachable: 1_000,
  broken: 500,
  timeouts: 50,
  retries: 2_000,
  refusedByFence: 10,
  refusedByGuard: 50,
  overruns: 50,
  commitsWithoutAuthority: 30,
  probesAnswered: 3_000,
};

describe('the protocol of ownership, simulated', () => {
  it('keeps every promise under clocks, networks, processes and stores that fail', async function () {
    this.timeout(600_000);
    const result = await runCampaign({ from: firstSeed, seeds: schedules });
    const found = result.findings.map(({ seed, message }) => `seed ${seed}: ${message}`);
    if (result.findings[0]) found.push(...tailOf(result.findings[0].seed));
    assert.deepEqual(found, [], 'replay it with: npm run simulate -- --seed <seed> --trace');
    assert.equal(result.schedules, schedules);
    assert.deepEqual(tooRare(result.statistics), []);
  });

  it('goes the same way to the last step when it has the same seed', () => {
    for (const seed of [3, 17, 86]) assert.deepEqual(traceOf(seed), traceOf(seed));
    assert.notDeepEqual(traceOf(3), traceOf(4));
  });
});

function traceOf(seed: number): string[] {
  const lines: string[] = [];
  simulate(seed, line => lines.push(line));
  assert(lines.length > 100, 'hardly anything happened');
  return lines;
}

function tailOf(seed: number): string[] {
  return traceOf(seed).slice(-40);
}

function tooRare(statistics: Statistics): string[] {
  return Object.entries(leastPerThousand)
    .map(([name, least]) => ({ name, least, seen: (statistics[name as Count] * 1_000) / schedules }))
    .filter(({ least, seen }) => seen < least)
    .map(({ name, least, seen }) => `${name}: ${seen.toFixed(1)} in 1,000 schedules, must be ${least}`);
}
