/**
 * `npm run bench [-- scenario …] [--runs n]`: measures ours and a peer in turn in the same run, prints a table, and writes
 * `bench/results/<scenario>.json`. `--profile` writes profiles of the scenario's processes instead, `--check` compares what a request
 * costs with what it did, `--readme` puts the tables into README.md. Everything runs on loopback, and every loop is bounded.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { check } from './check.ts';
import { isComparison, ratioSamples, table, type Comparison } from './comparison.ts';
import { median, percentile, row, tableHead, type Figure } from './measure.ts';
import { profileWriter } from './profile-report.ts';
import { putIntoReadme } from './readme.ts';
import { agentsScenario } from './scenarios/agents.ts';
import { bodies } from './scenarios/bodies.ts';
import { claims } from './scenarios/claims.ts';
import { deploy } from './scenarios/deploy.ts';
import { failover } from './scenarios/failover.ts';
import { hosts } from './scenarios/hosts.ts';
import { lookup } from './scenarios/lookup.ts';
import { memory } from './scenarios/memory.ts';
import { messages } from './scenarios/messages.ts';
import { move } from './scenarios/move.ts';
import { placement } from './scenarios/placement.ts';
import { planScale } from './scenarios/plan-scale.ts';
import { pm2 } from './scenarios/pm2.ts';
import { processStart } from './scenarios/process-start.ts';
import { renewals } from './scenarios/renewals.ts';
import { replication } from './scenarios/replication.ts';
import { router } from './scenarios/router.ts';
import { start } from './scenarios/start.ts';
import { upload } from './scenarios/upload.ts';
import { vanish } from './scenarios/vanish.ts';
import { websockets } from './scenarios/websockets.ts';

const scenarios = [
  start,
  processStart,
  hosts,
  deploy,
  upload,
  failover,
  vanish,
  move,
  claims,
  renewals,
  lookup,
  memory,
  messages,
  agentsScenario,
  planScale,
  placement,
  router,
  bodies,
  websockets,
  pm2,
  replication,
];
const { values, positionals } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    profile: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    store: { type: 'boolean', default: false },
    readme: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1 || runs > 200) {
  process.stderr.write('--runs takes a whole number from 1 to 200\n');
  process.exit(2);
}
const unknown = positionals.filter(name => !scenarios.some(scenario => scenario.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `no scenario ${unknown.join(', ')}; there are: ${scenarios.map(item => item.name).join(', ')}\n`,
  );
  process.exit(2);
}

const say = (line: string) => void process.stdout.write(`${line}\n`);
if (values.check) process.exit((await check({ store: values.store, say })) ? 0 : 1);
if (values.profile) {
  for (const scenario of scenarios.filter(({ name }) => positionals.includes(name))) {
    if (!scenario.profile) throw new Error(`${scenario.name} has no profile`);
    const writer = profileWriter(scenario.name);
    await scenario.profile(writer.write);
    say(writer.end());
  }
  process.exit(0);
}

const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
process.stdout.write(`${machine}\n\n${tableHead}\n`);
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
for (const scenario of scenarios) {
  if (positionals.length > 0 && !positionals.includes(scenario.name)) continue;
  const loadBefore = loadavg()[0]!;
  let figures: (Figure | Comparison)[];
  try {
    figures = await scenario.run(runs);
  } catch (error) {
    // The others are measured all the same: nobody may be there to start them again.
    console.error(`${scenario.name} failed:`, error);
    process.exitCode = 1;
    continue;
  }
  for (const figure of figures) {
    process.stdout.write(`${isComparison(figure) ? `\n${table(figure)}` : row(figure)}\n`);
  }
  const tables = figures.filter(isComparison).map(table);
  if (values.readme && tables.length > 0) {
    const day = new Date().toISOString().slice(0, 10);
    await putIntoReadme(scenario.name, `${machine}, ${day}, ${runs} rounds.\n\n${tables.join('\n')}`);
  }
  const summary = figures.map(figure => (isComparison(figure) ? reduced(figure) : summarised(figure)));
  writeFileSync(
    join(results, `${scenario.name}.json`),
    `${JSON.stringify({ machine, loadBefore, figures: summary }, null, 2)}\n`,
  );
}

function summarised(figure: Figure): object {
  return {
    ...figure,
    median: median(figure.samples),
    p99: figure.samples.length >= 50 ? percentile(figure.samples, 0.99) : null,
    ratio: figure.peer ? median(figure.samples) / median(figure.peer.samples) : null,
  };
}

function reduced(comparison: Comparison): object {
  const ratios = comparison.ratios.map(({ name, aim, ...ratio }) => {
    const samples = ratioSamples(comparison, { name, aim, ...ratio });
    return { name, aim, median: median(samples), samples };
  });
  return { ...comparison, ratios };
}
