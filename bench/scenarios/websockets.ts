/**
 * WebSockets through the router beside HAProxy: as many idle ones as the limit of open files lets both have, up to 10,000, and what
 * each takes of the memory of proxy and hosts; then messages that are echoed, each compared.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { note, type Comparison, type Ratio } from '../comparison.ts';
import type { EchoResult } from '../load/web-sockets.ts';
import type { Scenario } from '../measure.ts';
import { residentBytes } from '../memory-peak.ts';
import { cpuMsOf } from '../peers/bare-process.ts';
import { direct, haproxy, ours, startSubjects, type Subject } from './router.ts';

const wanted = 10_000;
/** What a proxy needs besides two files for each connection. */
const otherFiles = 600;
const talking = 64;
const echoMs = 3_000;
const settleMs = 2_000;
const path = '/bench/ws-';

export const websockets: Scenario = {
  name: 'websockets',
  async run(runs) {
    const idle = Math.min(wanted, Math.floor((openFilesMax() - otherFiles) / 2));
    const subjects = await startSubjects([direct, haproxy, ours], { webSockets: true });
    const memory: Comparison = {
      title: `${idle.toLocaleString('en')} idle WebSockets`,
      metrics: ['proxy, KiB for each', 'hosts, KiB for each', 'all open, ms'],
      samples: {},
      ratios: [ratio('memory of the proxy to HAProxy', 'proxy, KiB for each', '–')],
    };
    const messages: Comparison = {
      title: `Messages of 64 bytes echoed on ${talking} WebSockets`,
      metrics: ['messages/s', 'p50, µs', 'p99, µs', 'CPU of the proxy, µs', 'CPU of the hosts, µs'],
      samples: {},
      ratios: [ratio('messages/s to HAProxy', 'messages/s', '≥ 1')],
    };
    try {
      const able: Subject[] = [];
      for (const subject of subjects.all) {
        const status = await handshake(subject.port);
        if (status === 101) able.push(subject);
        else console.error(`${subject.name}: no WebSockets there yet (status ${status})`);
      }
      for (const subject of able) await talk(subject);
      for (let round = 0; round < runs; round++) {
        for (const subject of able) note(messages, subject.name, await talk(subject));
      }
      // Once is enough: what a connection takes does not vary from one time to the next.
      for (const subject of able.filter(({ name }) => name !== direct))
        note(memory, subject.name, await hold(subject, idle));
      return [memory, messages];
    } finally {
      await subjects.stop();
    }
  },
};

async function hold({ port, proxyPids, hostPids }: Subject, count: number): Promise<Record<string, number>> {
  const memory = () => [residentBytes(proxyPids), residentBytes(hostPids)] as const;
  const [proxyBefore, hostsBefore] = memory();
  const client = startClient(port);
  try {
    const startMs = performance.now();
    await client.ask({ open: count });
    const openMs = performance.now() - startMs;
    await new Promise(resolve => setTimeout(resolve, settleMs));
    const [proxyAfter, hostsAfter] = memory();
    return {
      'proxy, KiB for each': (proxyAfter - proxyBefore) / 1_024 / count,
      'hosts, KiB for each': (hostsAfter - hostsBefore) / 1_024 / count,
      'all open, ms': openMs,
    };
  } finally {
    await client.stop();
  }
}

async function talk({ port, proxyPids, hostPids }: Subject): Promise<Record<string, number>> {
  const cpuMs = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const client = startClient(port);
  try {
    await client.ask({ open: talking });
    const before = [cpuMs(proxyPids), cpuMs(hostPids)] as const;
    const { messages, p50Us, p99Us } = (await client.ask({ echo: echoMs })) as EchoResult;
    return {
      'messages/s': (messages * 1_000) / echoMs,
      'p50, µs': p50Us,
      'p99, µs': p99Us,
      'CPU of the proxy, µs': ((cpuMs(proxyPids) - before[0]) * 1_000) / messages,
      'CPU of the hosts, µs': ((cpuMs(hostPids) - before[1]) * 1_000) / messages,
    };
  } finally {
    await client.stop();
  }
}

interface Client {
  ask(command: { open: number } | { echo: number }): Promise<unknown>;
  stop(): Promise<void>;
}

function startClient(port: number): Client {
  const program = join(import.meta.dirname, '../load/web-sockets.ts');
  const child: ChildProcess = fork(program, [String(port), path]);
  const exited = once(child, 'exit') as Promise<[number | null]>;
  return {
    async ask(command) {
      const answer = once(child, 'message');
      child.send(command);
      const ended = exited.then(([code]) => Promise.reject(new Error(`the WebSockets ended with ${code}`)));
      const [result] = (await Promise.race([answer, ended])) as [unknown];
      return result;
    },
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The status that an upgrade is answered with. */
async function handshake(port: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    socket.write(
      `GET ${path}k0000 HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
        'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    return Number(head.toString('latin1').slice(9, 12));
  } finally {
    socket.destroy();
  }
}

function openFilesMax(): number {
  return Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 1_024);
}

function ratio(name: string, metric: string, aim: string): Ratio {
  return { name, of: { subject: ours, metrics: [metric] }, to: { subject: haproxy, metrics: [metric] }, aim };
}
