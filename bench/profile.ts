/**
 * CPU profiles of Node processes that run already, by their own inspector: woken by SIGUSR1, asked over its WebSocket, closed again. One
 * process at a time, for all take the same port. A top list tells where the time goes; the whole profile opens in any browser's tools.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../tests/support/wait.ts';

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
}

export interface CpuProfile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
}

const inspector = 'http://127.0.0.1:9229';

/** @throws when another process has the inspector's port */
export async function profileProcess(pid: number, ms: number): Promise<CpuProfile> {
  process.kill(pid, 'SIGUSR1');
  const uri = await until('the inspector answers', async () => {
    const [target] = (await (await fetch(`${inspector}/json/list`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    return target?.webSocketDebuggerUrl;
  });
  const session = await openSession(uri);
  try {
    const found = (await session.ask('Runtime.evaluate', { expression: 'process.pid' })) as {
      result: { value: number };
    };
    if (found.result.value !== pid)
      throw new Error(`process ${found.result.value} has the inspector's port 9229, not ${pid}`);
    await session.ask('Profiler.enable', {});
    await session.ask('Profiler.setSamplingInterval', { interval: 200 });
    await session.ask('Profiler.start', {});
    await pause(ms);
    const { profile } = (await session.ask('Profiler.stop', {})) as { profile: CpuProfile };
    // Not at once: it waits until we have gone.
    const close = `setTimeout(() => process.getBuiltinModule('node:inspector').close(), 100); 0`;
    await session.ask('Runtime.evaluate', { expression: close });
    return profile;
  } finally {
    session.close();
    await pause(500); // the port is free again
  }
}

interface Session {
  ask(method: string, params: object): Promise<unknown>;
  close(): void;
}

async function openSession(uri: string): Promise<Session> {
  const socket = new WebSocket(uri);
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', () => reject(new Error(`cannot connect to ${uri}`)));
  });
  const waiting = new Map<number, (result: unknown) => void>();
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  let id = 0;
  return {
    ask: (method, params) =>
      new Promise(resolve => {
        waiting.set(++id, resolve);
        socket.send(JSON.stringify({ id, method, params }));
      }),
    close: () => socket.close(),
  };
}

export interface TopEntry {
  name: string;
  /** Of the time in which the process did anything. */
  share: number;
}

/** Functions by their own time, the longest first. */
export function topOf(
  { nodes, samples, timeDeltas }: CpuProfile,
  count: number,
): { idleShare: number; top: TopEntry[] } {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const times = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const name = names.get(id)!;
    times.set(name, (times.get(name) ?? 0) + timeDeltas[index]!);
  }
  const idle = times.get('(idle)') ?? 0;
  times.delete('(idle)');
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0);
  const top = [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, time]) => ({ name, share: time / busy }));
  return { idleShare: idle / (idle + busy), top };
}

function nameOf({ functionName, url, lineNumber }: ProfileNode['callFrame']): string {
  const name = functionName || '(anonymous)';
  // Bundles have few and long lines: there the name says more than the place.
  return url ? `${name} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}` : name;
}
