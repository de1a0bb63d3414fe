/**
 * A hundred hosts of a small component, asked for at once of one agent: until all run, what they take of the machine's memory, and the
 * processor time of all of them. Peer: as many bare servers, forked in a loop. Everything ends with the scenario.
 */
import { startHostAgent } from '../host-agent.ts';
import type { Scenario } from '../measure.ts';
import { memoryOf, startBareServer, threadCpuMsOf } from '../peers/bare-process.ts';

const count = 100;
const mebibyte = 1024 * 1024;

interface Outcome {
  ms: number;
  cpuMs: number;
  pssMib: number;
}

export const hosts: Scenario = {
  name: 'hosts',
  async run(runs) {
    const ours: Outcome[] = [];
    const bare: Outcome[] = [];
    for (let run = 0; run < Math.min(runs, 5); run++) {
      ours.push(await startOurs());
      bare.push(await startBare());
    }
    const figure = (name: string, unit: 'ms' | 'MiB', aim: string, of: (outcome: Outcome) => number) => ({
      name: `${count} hosts at once: ${name}`,
      unit,
      samples: ours.map(of),
      peer: { name: `${count} bare servers, forked in a loop`, samples: bare.map(of) },
      aim,
    });
    return [
      figure('until all run', 'ms', '–', outcome => outcome.ms),
      figure('memory of all, PSS', 'MiB', '< 5,120', outcome => outcome.pssMib),
      figure('CPU of all', 'ms', '–', outcome => outcome.cpuMs),
    ];
  },
};

async function startOurs(): Promise<Outcome> {
  const agent = await startHostAgent({ warmSpares: 0 });
  try {
    await agent.start('first'); // writes the compile cache
    const beginMs = performance.now();
    const started = await Promise.all(Array.from({ length: count }, (_, index) => agent.start(`h/${index}`)));
    const ms = performance.now() - beginMs;
    return { ms, ...totals(started.map(({ pid }) => pid)) };
  } finally {
    await agent.workplace.dispose();
  }
}

async function startBare(): Promise<Outcome> {
  const beginMs = performance.now();
  const servers = await Promise.all(Array.from({ length: count }, () => startBareServer()));
  const ms = performance.now() - beginMs;
  const outcome = { ms, ...totals(servers.map(server => server.child.pid!)) };
  for (const { child } of servers) child.kill('SIGKILL');
  return outcome;
}

function totals(pids: number[]): { cpuMs: number; pssMib: number } {
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  return {
    cpuMs: sum(pids.map(threadCpuMsOf)),
    pssMib: sum(pids.map(pid => memoryOf(pid).pssBytes)) / mebibyte,
  };
}
