/** `npm run fuzz:heads -- [--seed n] [--streams n]`: the fast path's parser against Node's own, as long as one likes. */
import { parseArgs } from 'node:util';
import { fuzzHeads } from './differential.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(process.pid) },
    streams: { type: 'string', default: '2000000' },
  },
});
const seed = Number(values.seed);
const report = await fuzzHeads({ seed, streams: Number(values.streams) });
console.log(JSON.stringify({ seed, ...report, disagreements: report.disagreements.slice(0, 5) }, null, 2));
process.exitCode = report.disagreements.length > 0 ? 1 : 0;
