/**
 * One process of a campaign: runs the schedules `from`, `from + step`, … below `to`, and says what came of it over the IPC channel.
 * Arguments: from, to, step, `first` to stop at the first violation.
 */
import { simulate } from './simulate.ts';
import { addStatistics, emptyStatistics, type Statistics } from './statistics.ts';

export interface Finding {
  seed: number;
  invariant: string;
  message: string;
}

export interface WorkerReport {
  schedules: number;
  statistics: Statistics;
  findings: Finding[];
}

const findingsMax = 20;

const [from, to, step, mode] = process.argv.slice(2);
const report = run({ from: Number(from), to: Number(to), step: Number(step), untilFirst: mode === 'first' });
process.send!(report, () => process.disconnect());

function run(range: { from: number; to: number; step: number; untilFirst: boolean }): WorkerReport {
  const total = emptyStatistics();
  const findings: Finding[] = [];
  let schedules = 0;
  for (let seed = range.from; seed < range.to; seed += range.step) {
    const { statistics, violation } = simulate(seed);
    schedules++;
    addStatistics(total, statistics);
    if (!violation) continue;
    findings.push({ seed, invariant: violation.invariant, message: violation.message });
    if (range.untilFirst || findings.length === findingsMax) break;
  }
  return { schedules, statistics: total, findings };
}
