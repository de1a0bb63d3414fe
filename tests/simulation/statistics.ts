/** What happened in the schedules: proof that the simulation is not vacuous. */

const names = [
  // schedules
  'schedules',
  'timedSchedules',
  'untimedSchedules',
  'faultlessSchedules',
  'scheduleAtTheRateBound',
  'steps',
  // network
  'messages',
  'lost',
  'answersLost',
  'duplicated',
  'slow',
  'partitions',
  'oneWayPartitions',
  'eventsReset',
  // processes
  'freezes',
  'suspensions',
  'crashes',
  'deathsProven',
  'deathsUnproven',
  'storeCrashes',
  'storeStalls',
  'storeForgets',
  'storeGoesBack',
  'foreignFences',
  // clocks
  'wallClockJumps',
  'storeClockJumps',
  // ownership
  'sessionsOpened',
  'sessionsLost',
  'sessionsResumed',
  'lateOpenings',
  'sessionsExpired',
  'sessionsDied',
  'sessionsClosed',
  'claims',
  'takeovers',
  'opens',
  'openFailures',
  'opensFenced',
  'raises',
  'closes',
  'drains',
  'moves',
  'handedOff',
  'notHandedOff',
  'transfers',
  'releases',
  'passivations',
  'pauses',
  'resumes',
  'adopted',
  'adoptRefused',
  'recoveringAnswers',
  'pausedAnswers',
  'leasesHeld',
  'leasesLost',
  'leasesContended',
  // requests
  'requests',
  'executions',
  'commits',
  'reads',
  'acknowledged',
  'notExecuted',
  'unknownOutcomes',
  'failed',
  'refusals',
  'unreachable',
  'broken',
  'timeouts',
  'retries',
  'refusedByFence',
  'refusedByGuard',
  'overruns',
  'unfencedCommits',
  'commitsWithoutAuthority',
  'probesAnswered',
] as const;

export type Count = (typeof names)[number];
export type Statistics = Record<Count, number>;

export function emptyStatistics(): Statistics {
  return Object.fromEntries(names.map(name => [name, 0])) as Statistics;
}

export function addStatistics(total: Statistics, more: Statistics): void {
  for (const name of names) total[name] += more[name];
}
