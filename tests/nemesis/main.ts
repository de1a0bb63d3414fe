/** `npm run nemesis`: breaks a cluster for as long as you like. Exit code 1 when something did not hold. */
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.ts';
import { startOneMachine } from './one-machine.ts';
import { startMachines } from './several-machines.ts';

const usage = `npm run nemesis -- [--coordination redis|embedded] [--seed n] [--rounds m] [--only part-of-a-name]…

Starts a cluster, lets clients append to and read lists under load, breaks something in each round, and checks from the recorded
history and from what the lists hold: commits in fence order (I1), no acknowledged append lost, none twice, none that was
reported as not executed (I2), one answerer at a time (I3), linearizability of each list (I4), increasing fences (I5), every key
served again (I7), and that only fails what a fault excuses. Linux, as root.

  --coordination  redis (default): three nodes in network namespaces and a Redis; embedded: three nodes on this machine
  --seed          a whole number; the same one makes the same plan (default: chosen and printed)
  --rounds        how many (default: 30); each fault comes once before any comes again
  --only          pick only faults whose name contains this; may be repeated
`;

const violationsShown = 100;
const targets = { redis: startMachines, embedded: startOneMachine };

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      coordination: { type: 'string', default: 'redis' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      rounds: { type: 'string', default: '30' },
      only: { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const say = (text: string) => void process.stdout.write(`${text}\n`);
  if (values.help) {
    say(usage);
    return 0;
  }
  const [seed, rounds] = [Number(values.seed), Number(values.rounds)];
  const { coordination } = values;
  if (!Number.isSafeInteger(seed) || !Number.isInteger(rounds) || rounds < 1 || !isTarget(coordination)) {
    process.stderr.write(usage);
    return 2;
  }
  say(`seed ${seed}, ${rounds} rounds on ${coordination}`);
  const { only } = values;
  // Namespaces and processes do not go away by themselves.
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interruption.abort());
  const result = await runCampaign(targets[coordination], {
    seed,
    rounds,
    say,
    signal: interruption.signal,
    ...(only ? { only } : {}),
  });
  for (const violation of result.violations.slice(0, violationsShown)) say(`VIOLATION ${violation}`);
  say(`${result.violations.length} violations`);
  return result.violations.length > 0 ? 1 : 0;
}

function isTarget(name: string): name is keyof typeof targets {
  return Object.hasOwn(targets, name);
}
