/** The words that `node-api/main.ts` is called with. Pure. */
import { parseArgs } from 'node:util';
import { HoldfastError, IDENTIFIER_FORM } from '#core';

export interface NodeArguments {
  name: string;
  listen: { host: string; port: number };
  data: string;
  stateRoot: string;
  tokenFile: string;
  lifelineFd: number | null;
  firstHostPort: number | null;
  orphanGraceMs: number | null;
  warmSpares: number | null;
  spareMemoryMb: number | null;
  minFreeDiskMib: number | null;
  clusterName: string | null;
  coordinationFile: string | null;
  stopHostsOnExit: boolean;
}

/** @throws HoldfastError HF_USAGE */
export function parseNodeArguments(words: readonly string[]): NodeArguments {
  const values = read(words);
  return {
    name: pattern('--name', values.name, new RegExp(IDENTIFIER_FORM.pattern)),
    listen: address(values.listen),
    data: required('--data', values.data),
    stateRoot: required('--state-root', values['state-root']),
    tokenFile: required('--token-file', values['token-file']),
    lifelineFd: integer('--lifeline-fd', values['lifeline-fd'], 3, 1023),
    firstHostPort: integer('--first-host-port', values['first-host-port'], 1, 65_535),
    orphanGraceMs: integer('--orphan-grace-ms', values['orphan-grace-ms'], 0, 3_600_000),
    minFreeDiskMib: integer('--min-free-disk-mib', values['min-free-disk-mib'], 0, 1_000_000_000),
    warmSpares: integer('--warm-spares', values['warm-spares'], 0, 16),
    spareMemoryMb: integer('--spare-memory-mb', values['spare-memory-mb'], 0, 1_000_000),
    clusterName: values['cluster-name'] ?? null,
    coordinationFile: values['coordination-file'] ?? null,
    stopHostsOnExit: values['stop-hosts-on-exit'] ?? false,
  };
}

function read(words: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...words],
      options: {
        name: text,
        listen: text,
        data: text,
        'state-root': text,
        'token-file': text,
        'lifeline-fd': text,
        'first-host-port': text,
        'orphan-grace-ms': text,
        'warm-spares': text,
        'spare-memory-mb': text,
        'min-free-disk-mib': text,
        'cluster-name': text,
        'coordination-file': text,
        'stop-hosts-on-exit': { type: 'boolean' },
      },
    }).values;
  } catch (cause) {
    throw new HoldfastError('HF_USAGE', (cause as Error).message, { cause });
  }
}

function required(option: string, value: string | undefined): string {
  if (!value) throw new HoldfastError('HF_USAGE', `${option} is missing`);
  return value;
}

function pattern(option: string, value: string | undefined, expected: RegExp): string {
  const text = required(option, value);
  if (!expected.test(text))
    throw new HoldfastError('HF_USAGE', `${option} ${JSON.stringify(text)} must match ${expected.source}`);
  return text;
}

/** `host:port`; an IPv6 address stands in brackets. */
function address(value: string | undefined): { host: string; port: number } {
  const text = required('--listen', value);
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new HoldfastError('HF_USAGE', `--listen ${JSON.stringify(text)} must be host:port`);
  }
  return { host: (match[1] ?? match[2])!, port };
}

function integer(option: string, value: string | undefined, least: number, most: number): number | null {
  if (value === undefined) return null;
  const number = Number(value);
  if (!/^[0-9]+$/.test(value) || number < least || number > most) {
    throw new HoldfastError(
      'HF_USAGE',
      `${option} ${JSON.stringify(value)} must be a number from ${least} to ${most}`,
    );
  }
  return number;
}
