/**
 * From the request to a host with a running component, from nothing and from a warm spare, and the processor time of the process
 * until then. Peers, in turn: a bare server that is forked until it listens, and fastify with pino, bundled, with a compile cache.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { startHostAgent } from '../host-agent.ts';
import type { Scenario } from '../measure.ts';
import { startBareServer, threadCpuMsOf } from '../peers/bare-process.ts';

/** A spare has loaded what it can by then. */
const restMs = 1_500;

export const processStart: Scenario = {
  name: 'process-start',
  async run(runs) {
    const [cold, coldCpu, warm, bare, bareCpu, fastify, fastifyCpu] = Array.from(
      { length: 7 },
      (): number[] => [],
    );
    const folder = await mkdtemp(join(tmpdir(), 'bench-start-'));
    const bundled = join(folder, 'fastify-server.cjs');
    await build({
      entryPoints: [join(import.meta.dirname, '../peers/fastify-server.js')],
      outfile: bundled,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      minifyWhitespace: true,
    });
    const without = await startHostAgent({ warmSpares: 0 });
    const withSpares = await startHostAgent({ warmSpares: 1 });
    try {
      // The first of each writes its compile cache.
      await without.start('first');
      await startFastify(bundled, folder);
      for (let run = 0; run < runs; run++) {
        const ours = await without.start(`cold-${run}`);
        cold!.push(ours.ms);
        coldCpu!.push(threadCpuMsOf(ours.pid));
        const beginMs = performance.now();
        const server = await startBareServer();
        bare!.push(performance.now() - beginMs);
        bareCpu!.push(threadCpuMsOf(server.child.pid!));
        server.child.kill('SIGKILL');
        const peer = await startFastify(bundled, folder);
        fastify!.push(peer.ms);
        fastifyCpu!.push(peer.cpuMs);
        await withSpares.workplace.until('a spare', async () => {
          const { body } = await withSpares.client.call<string>('GET', '/metrics');
          return /holdfast_node_spare_hosts 1/.test(body);
        });
        await new Promise(resolve => setTimeout(resolve, restMs));
        warm!.push((await withSpares.start(`warm-${run}`)).ms);
      }
    } finally {
      await without.workplace.dispose();
      await withSpares.workplace.dispose();
      await rm(folder, { recursive: true, force: true });
    }
    const bareName = 'bare server, forked until it listens';
    return [
      {
        name: 'component running, from nothing',
        unit: 'ms',
        samples: cold!,
        peer: { name: bareName, samples: bare! },
        aim: '≤ 60',
      },
      {
        name: 'CPU of the process until then',
        unit: 'ms',
        samples: coldCpu!,
        peer: { name: bareName, samples: bareCpu! },
        aim: '–',
      },
      {
        name: 'component running, from nothing, again',
        unit: 'ms',
        samples: cold!,
        peer: { name: 'fastify and pino, bundled, compile cache', samples: fastify! },
        aim: '–',
      },
      {
        name: 'CPU of the process until then, again',
        unit: 'ms',
        samples: coldCpu!,
        peer: { name: 'fastify and pino, bundled, compile cache', samples: fastifyCpu! },
        aim: '–',
      },
      {
        name: 'component running, from a warm spare',
        unit: 'ms',
        samples: warm!,
        peer: { name: bareName, samples: bare! },
        aim: '≤ 10',
      },
    ];
  },
};

async function startFastify(program: string, folder: string): Promise<{ ms: number; cpuMs: number }> {
  const beginMs = performance.now();
  const child = fork(program, {
    stdio: 'ignore',
    env: { ...process.env, NODE_COMPILE_CACHE: join(folder, 'cache') },
  });
  await once(child, 'message');
  const ms = performance.now() - beginMs;
  const cpuMs = threadCpuMsOf(child.pid!);
  child.kill('SIGTERM'); // ends in order, and so writes its compile cache
  await once(child, 'exit');
  return { ms, cpuMs };
}
