/** `npm run soak -- --minutes 30`: see `soak.ts`. Writes `bench/results/soak.json`, with `--readme` the tables into README.md; exit code 1 when something did not hold. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { putIntoReadme } from '../readme.ts';
import { soak, type SoakReport } from './soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    readme: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
if (!(minutes >= 0.5 && minutes <= 24 * 60)) {
  process.stderr.write('--minutes takes a number from 0.5 to 1440\n');
  process.exit(2);
}
const say = (line: string) => void process.stdout.write(`${line}\n`);
const report = await soak({
  durationMs: minutes * 60_000,
  load: { peakSeconds: 8, share: 0.7 },
  pace: { killEveryMs: 15_000, moveEveryMs: 250, deployEveryMs: 45_000 },
  sampleEveryMs: 5_000,
  nodes: 3,
  say,
});
const results = join(import.meta.dirname, '../results');
mkdirSync(results, { recursive: true });
writeFileSync(join(results, 'soak.json'), `${JSON.stringify(report, null, 2)}\n`);
say(table(report));
if (values.readme) await putIntoReadme('soak', table(report));
for (const violation of report.violations) say(`VIOLATION ${violation}`);
for (const failure of report.load.examples) say(`  ${JSON.stringify(failure)}`);
process.exitCode = report.violations.length > 0 ? 1 : 0;

function table({ seconds, perSecond, load, disturbances, memory, latency }: SoakReport): string {
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  const { kills, moves, movesRefused, deployments } = disturbances;
  return [
    '',
    '| what | |',
    '|---|---:|',
    `| minutes, at requests/s | ${(seconds / 60).toFixed(1)}, ${perSecond} |`,
    `| answered | ${load.answered} |`,
    `| failed: idempotent, others | ${load.failedIdempotent}, ${load.failedOthers} |`,
    `| wrong answers | ${load.wrong} |`,
    `| hosts killed, keys moved (refused), deployments | ${kills}, ${moves} (${movesRefused}), ${deployments} |`,
    `| p99 of a second, first and last third after the warm-up, ms | ${latency.firstP99Ms.toFixed(1)}, ${latency.lastP99Ms.toFixed(1)} |`,
    `| longest request, ms | ${latency.longestMs.toFixed(0)} |`,
    '',
    '| process | median, MiB | growth, MiB | |',
    '|---|---:|---:|---|',
    ...memory.map(
      ({ name, pid, medianBytes, growthBytes, flat }) =>
        `| ${name} (${pid}) | ${mebibytes(medianBytes)} | ${mebibytes(growthBytes)} | ${flat === null ? 'too short to say' : flat ? 'flat' : 'GROWS'} |`,
    ),
  ].join('\n');
}
