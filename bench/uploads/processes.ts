/** Starts the processes of `node.ts`, and sends them what they take. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';

export type FromNode =
  | { type: 'ready'; ours: number; raw: number }
  | { type: 'staged' }
  | { type: 'installed'; ms: number; cpuMs: number; delayMs: number; grownBytes: number };
export type ToNode = { type: 'install'; path: string };

export interface UploadNode {
  child: ChildProcess;
  ours: string;
  raw: string;
  /** Resolves with the next message of that type; to be called before it is due. */
  next<Type extends FromNode['type']>(type: Type): Promise<Extract<FromNode, { type: Type }>>;
  install(path: string): Promise<Extract<FromNode, { type: 'installed' }>>;
  stop(): Promise<void>;
}

export async function startUploadNode(directory: string): Promise<UploadNode> {
  await mkdir(directory, { recursive: true });
  const child = fork(join(import.meta.dirname, 'node.ts'), [directory]);
  const next: UploadNode['next'] = type =>
    new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('the node ended'));
      const onMessage = (message: FromNode) => {
        if (message.type !== type) return;
        child.off('message', onMessage).off('exit', onExit);
        resolve(message as Extract<FromNode, { type: typeof type }>);
      };
      child.on('message', onMessage).once('exit', onExit);
    });
  const { ours, raw } = await next('ready');
  return {
    child,
    ours: `http://127.0.0.1:${ours}`,
    raw: `http://127.0.0.1:${raw}`,
    next,
    install(path) {
      const installed = next('installed');
      child.send({ type: 'install', path } satisfies ToNode);
      return installed;
    },
    async stop() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

/** Buffers as they are, without any copy; resolves to the answer's text. */
export function post(url: string, headers: Record<string, string>, parts: Buffer[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const sent = request(url, { method: 'POST', headers: { ...headers, 'content-length': length } });
    sent.on('error', reject).on('response', answer => {
      let text = '';
      answer.on('error', reject).on('data', chunk => (text += String(chunk)));
      answer.on('end', () => {
        if (answer.statusCode! >= 300) reject(new Error(`${answer.statusCode}: ${text}`));
        else resolve(text);
      });
    });
    for (const part of parts) sent.write(part);
    sent.end();
  });
}
