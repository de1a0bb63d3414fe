/** `npm run chaos`: breaks a cluster for as long as you like. Exit code 1 when something did not hold. */
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.ts';
import { faults } from './faults.ts';

const usage = `npm run chaos -- [--seed n] [--rounds m] [--only part-of-a-name]…

Starts a cluster of three nodes and two routers on this machine, puts clients on 40 keys, breaks something in each
round, and checks that no acknowledged write is lost or applied twice, that fences never go back, that no
request fails that could have been served, and that the cluster heals. Linux only.

  --seed    a whole number; the same one makes the same plan (default: chosen and printed)
  --rounds  how many (default: ${faults.length}, each fault once)
  --only    pick only faults whose name contains this; may be repeated

Faults:
${faults.map(({ name }) => `  ${name}`).join('\n')}
`;

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      rounds: { type: 'string', default: String(faults.length) },
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
  if (!Number.isSafeInteger(seed) || !Number.isInteger(rounds) || rounds < 1) {
    process.stderr.write(usage);
    return 2;
  }
  say(`seed ${seed}, ${rounds} rounds`);
  const result = await runCampaign({ seed, rounds, say, ...(values.only ? { only: values.only } : {}) });
  say(
    `${result.requests} requests, ${result.acknowledged} acknowledged writes, slowest read ${result.slowestReadMs} ms`,
  );
  for (const violation of result.violations) say(`VIOLATION ${violation}`);
  return result.violations.length > 0 ? 1 : 0;
}
