/** Starts the peers of the request path: hosts, and proxies in front of them, each one process, the proxies on one core. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from '../../tests/support/cluster.ts';
import { pathOf, peersFolder } from './install.ts';

/** The core that the measured proxy has for itself as far as the others leave it to it. */
export const proxyCore = '0';

export interface Peer {
  port: number;
  pid: number;
  /** Ends it and waits for that. Idempotent. */
  stop(): Promise<void>;
}

/** A node:http host; with `webSockets` it echoes messages too. */
export function startUpstream(options: { webSockets?: boolean } = {}): Promise<Peer> {
  const program = join(import.meta.dirname, 'upstream.js');
  return startPrinting([process.execPath, program, '0', ...(options.webSockets ? [peersFolder] : [])]);
}

/** A proxy of npm. */
export function startNodeProxy(kind: 'http-proxy' | 'reply-from', upstreams: readonly Peer[]): Promise<Peer> {
  const ports = upstreams.map(({ port }) => String(port));
  const program = join(import.meta.dirname, 'node-proxy.js');
  return startPrinting([...pinned(), process.execPath, program, kind, peersFolder, ...ports]);
}

export async function startHaproxy(upstreams: readonly Peer[]): Promise<Peer> {
  const port = await freePort();
  return startConfigured(port, 'haproxy.cfg', haproxyConfiguration(port, upstreams), file => [
    ...pinned(),
    pathOf('haproxy'),
    '-db',
    '-q',
    '-f',
    file,
  ]);
}

export async function startNginx(upstreams: readonly Peer[]): Promise<Peer> {
  const port = await freePort();
  const servers = upstreams.map(upstream => `server 127.0.0.1:${upstream.port};`).join(' ');
  const site = `upstream hosts { hash $uri consistent; ${servers} keepalive 256; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=4096 reuseport;
      location / { proxy_pass http://hosts; proxy_http_version 1.1; proxy_set_header Connection ""; } }`;
  return startConfigured(port, 'nginx.conf', nginxConfiguration(site), file => [
    ...pinned(),
    pathOf('nginx'),
    '-c',
    file,
  ]);
}

/** A host that costs as little as one can: nginx, which answers the same bytes out of its configuration. */
export async function startCheapUpstream(): Promise<Peer> {
  const port = await freePort();
  const body = `{"key":"$uri","value":"${'v'.repeat(160)}"}`;
  const site = `server { listen 127.0.0.1:${port} backlog=4096; default_type application/json;
      location / { return 200 '${body}'; } }`;
  return startConfigured(port, 'nginx.conf', nginxConfiguration(site), file => [pathOf('nginx'), '-c', file]);
}

function pinned(): string[] {
  return [pathOf('taskset'), '-c', proxyCore];
}

function haproxyConfiguration(port: number, upstreams: readonly Peer[]): string {
  const servers = upstreams
    .map((upstream, index) => `  server s${index} 127.0.0.1:${upstream.port}\n`)
    .join('');
  return `global
  nbthread 1
  maxconn 9900
defaults
  mode http
  maxconn 9900
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout tunnel 10m
frontend front
  bind 127.0.0.1:${port} backlog 4096
  default_backend hosts
backend hosts
  balance uri
  hash-type consistent
  http-reuse always
${servers}`;
}

function nginxConfiguration(site: string): string {
  return `daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
    worker_rlimit_nofile 20000; events { worker_connections 16384; }
    http { access_log off; keepalive_requests 100000000; client_max_body_size 0;
      client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
      ${site} }`;
}

/** A program that prints its port when it listens. */
async function startPrinting([program, ...words]: string[]): Promise<Peer> {
  const child = spawn(program!, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await Promise.race([
    once(child.stdout, 'data').then(([chunk]) => String(chunk)),
    once(child, 'exit').then(([code]) => {
      throw new Error(`${words.join(' ')} ended with ${String(code)}`);
    }),
  ]);
  return { port: Number(line.trim()), pid: child.pid!, stop: () => end(child) };
}

/** A program with a configuration file, in a folder of its own. */
async function startConfigured(
  port: number,
  name: string,
  text: string,
  command: (file: string) => string[],
): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const file = join(folder, name);
  writeFileSync(file, text);
  const [program, ...words] = command(file);
  // nginx takes relative paths from its prefix.
  const prefix = name === 'nginx.conf' ? ['-p', folder] : [];
  const child = spawn(program!, [...words, ...prefix], { stdio: ['ignore', 'ignore', 'inherit'] });
  const stop = async () => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(`${name} listens`, async () => {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
      return (await fetch(`http://127.0.0.1:${port}/bench/k0000`)).status < 600;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, pid: child.pid!, stop };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
