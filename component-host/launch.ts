/**
 * The first thing a host reads: one line of JSON on its standard input. It holds secrets, so no message repeats any
 * of its values.
 */
import type { Readable } from 'node:stream';
import { redisAddressProblems, type HostLaunch, type System } from '#core';

const lineBytesMax = 256 * 1024;

const texts = [
  'processId',
  'hostSecret',
  'nodeName',
  'clusterName',
  'clusterSecret',
  'agentSocket',
  'listenHost',
  'hostDirectory',
  'dataRoot',
  'logLevel',
] as const;
const numbers = ['firstPort', 'orphanGraceMs'] as const;

/** @throws Error with a message for the person who started the process by hand */
export async function readLaunch(input: Readable, system: System, timeoutMs: number): Promise<HostLaunch> {
  const line = await readLine(input, system, timeoutMs);
  let document: unknown;
  try {
    document = JSON.parse(line);
  } catch {
    throw new Error('standard input holds no JSON'); // the parser's own message would quote the input
  }
  return parseLaunch(document);
}

/** Pure. @throws Error naming the fields at fault, never their values */
export function parseLaunch(document: unknown): HostLaunch {
  if (typeof document !== 'object' || document === null) throw new Error('the launch is not an object');
  const fields = document as Record<string, unknown>;
  const wrong = [
    ...texts.filter(name => typeof fields[name] !== 'string' || fields[name] === ''),
    ...numbers.filter(name => !Number.isSafeInteger(fields[name]) || (fields[name] as number) < 0),
    ...(isAddress(fields.coordination) ? [] : ['coordination']),
  ];
  if (wrong.length > 0) throw new Error(`the launch lacks or has wrong: ${wrong.join(', ')}`);
  return document as HostLaunch;
}

function isAddress(value: unknown): boolean {
  const { kind, socketPath } = (value ?? {}) as { kind?: unknown; socketPath?: unknown };
  return kind === 'embedded' ? typeof socketPath === 'string' : redisAddressProblems(value).length === 0;
}

/** Up to the first line end, or the end of the input. */
function readLine(input: Readable, system: System, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const cancel = system.timers.after(
      timeoutMs,
      () => finish(() => reject(new Error(`nothing on standard input within ${timeoutMs} ms`))),
      { keepAlive: true },
    );

    function finish(settle: () => void): void {
      cancel();
      input.off('data', onData).off('end', onEnd).off('error', onError);
      input.pause();
      settle();
    }
    function onData(chunk: Buffer | string): void {
      const bytes = Buffer.from(chunk);
      chunks.push(bytes);
      sizeBytes += bytes.length;
      if (bytes.includes(0x0a)) onEnd();
      else if (sizeBytes > lineBytesMax) finish(() => reject(new Error('the launch is too long')));
    }
    function onEnd(): void {
      finish(() => resolve(Buffer.concat(chunks).toString('utf8').split('\n', 1)[0]!));
    }
    function onError(error: Error): void {
      finish(() => reject(error));
    }
    input.on('data', onData).on('end', onEnd).on('error', onError);
  });
}
