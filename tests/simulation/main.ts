/** `npm run simulate`: runs schedules for as long as you like, or one of them in full. Exit code 1 when something did not hold. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.ts';
import { simulate } from './simulate.ts';

const usage = `npm run simulate -- [--seeds n] [--from n] | --seed n [--trace]

Runs the protocol of ownership in simulated clusters, under clocks, networks, processes and stores that fail.

  --seeds  how many schedules (default 100000), in as many processes as there are cores
  --from   the first seed (default 1)
  --seed   this one schedule alone
  --trace  with --seed: everything that happens in it; otherwise only the end of it, if something did not hold
`;

const tailLines = 60;
const say = (text: string) => void process.stdout.write(`${text}\n`);

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100000' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    say(usage);
    return 0;
  }
  const numbers = [values.seeds, values.from, values.seed ?? '1'].map(Number);
  if (!numbers.every(number => Number.isSafeInteger(number) && number > 0)) {
    process.stderr.write(usage);
    return 2;
  }
  const [seeds, from, seed] = numbers as [number, number, number];
  return values.seed === undefined ? campaign(from, seeds) : replay(seed, values.trace);
}

async function campaign(from: number, seeds: number): Promise<number> {
  const { schedules, elapsedMs, statistics, findings } = await runCampaign({ from, seeds });
  for (const [name, count] of Object.entries(statistics)) say(`${name.padEnd(28)}${count}`);
  const perSecond = Math.round(schedules / (elapsedMs / 1_000));
  say(`${schedules} schedules, ${perSecond} per second in ${availableParallelism()} processes`);
  for (const { seed, message } of findings) say(`seed ${seed}: ${message}`);
  if (findings[0]) replay(findings[0].seed, false);
  return findings.length > 0 ? 1 : 0;
}

function replay(seed: number, whole: boolean): number {
  const lines: string[] = [];
  const { violation } = simulate(seed, line => lines.push(line));
  if (whole) for (const line of lines) say(line);
  else if (violation) for (const line of [lines[0]!, '…', ...lines.slice(-tailLines)]) say(line);
  say(violation ? `seed ${seed}: ${violation.message}` : `seed ${seed}: everything held`);
  return violation ? 1 : 0;
}
