/** `holdfast nodes …`: which nodes there are, and taking one out of use and back. */
import { HoldfastError, type MasterNode } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { parseDurationMs } from '../duration.ts';
import { EXIT } from '../failure.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

type NodeOptions = ConnectOptions & { json?: boolean; reason?: string };

const pollMs = 250;

export async function listNodes(options: NodeOptions, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const nodes = await master.nodes();
  stdout.write(options.json ? jsonLine(nodes) : `${describeNodes(nodes)}\n`);
}

/** Pure. */
export function describeNodes(nodes: readonly MasterNode[]): string {
  const rows = nodes.map(node => [
    node.networkName,
    node.state,
    node.drained ? 'drained' : (node.maintenance?.state ?? '-'),
    String(node.copies),
    [...node.pressure.map(({ kind }) => kind), ...(node.flapping ? ['flapping'] : [])].join(', ') || '-',
    node.nodeApiUri,
  ]);
  const said = nodes.flatMap(({ networkName, maintenance, pressure, problem }) => [
    ...(maintenance ? [`  ${networkName}: ${describeMaintenance(maintenance)}`] : []),
    ...pressure.map(({ message }) => `  ${networkName}: ${message}`),
    ...(problem === null ? [] : [`  ${networkName}: ${problem}`]),
  ]);
  const shown = table([['NODE', 'STATE', 'MAINTENANCE', 'COPIES', 'SHORT OF', 'URI'], ...rows]);
  return said.length === 0 ? shown : `${shown}\n\n${said.join('\n')}`;
}

function describeMaintenance({
  state,
  since,
  by,
  reason,
  deadlineAt,
}: NonNullable<MasterNode['maintenance']>) {
  const until = deadlineAt === null ? '' : `, what is left at ${deadlineAt} is stopped`;
  return `${state} since ${since} by ${by}${reason === null ? '' : ` (${reason})`}${until}`;
}

export async function cordonNode(name: string, options: NodeOptions, { cwd, stdout }: Environment) {
  const { master } = await connectToCluster(cwd, options);
  const answer = await master.cordon(name, reasonOf(options));
  const text = `${name} gets no more copies; those that run there stay. Lift it with: holdfast nodes undrain ${name}`;
  stdout.write(options.json ? jsonLine(answer) : `${text}\n`);
}

export async function undrainNode(name: string, options: NodeOptions, { cwd, stdout }: Environment) {
  const { master } = await connectToCluster(cwd, options);
  const answer = await master.undrain(name);
  stdout.write(options.json ? jsonLine(answer) : `${name} may have copies again\n`);
}

/** Resolves to the exit code: 0 when nothing is left there (or nobody waits), 1 when the wait is over before. */
export async function drainNode(
  name: string,
  options: NodeOptions & { deadline?: string; timeout: string; wait: boolean },
  { cwd, stdout, stderr, system }: Environment,
): Promise<number> {
  const timeoutMs = parseDurationMs('--timeout', options.timeout);
  const deadline =
    options.deadline === undefined ? {} : { deadlineMs: parseDurationMs('--deadline', options.deadline) };
  const { master } = await connectToCluster(cwd, options);
  const answer = await master.drain(name, { ...reasonOf(options), ...deadline });
  if (!options.wait) {
    stdout.write(options.json ? jsonLine(answer) : `${name} is being drained; see: holdfast nodes list\n`);
    return EXIT.ok;
  }
  const endMs = system.clock.monotonicMs() + timeoutMs;
  let last: MasterNode | undefined;
  let said = '';
  for (;;) {
    // Another manager may begin to lead meanwhile: then it is asked again.
    const nodes = await master.nodes().catch(passing);
    last = nodes?.find(node => node.networkName === name) ?? last;
    if (last?.drained) break;
    const text = `${name}: ${last ? describeLeft(last) : 'not known yet'}`;
    if (!options.json && text !== said) stderr.write(`${text}\n`);
    said = text;
    if (system.clock.monotonicMs() >= endMs) {
      stderr.write(
        `${name} is not empty after ${options.timeout}; it goes on being drained. Stop that with: holdfast nodes undrain ${name}\n`,
      );
      if (options.json && last) stdout.write(jsonLine(last));
      return EXIT.failure;
    }
    await system.timers.sleep(pollMs);
  }
  stdout.write(options.json ? jsonLine(last) : `${name} is drained: no copy is left on it\n`);
  return EXIT.ok;
}

function describeLeft({ copies, problem }: MasterNode): string {
  return `${copies} ${copies === 1 ? 'copy is' : 'copies are'} left${problem === null ? '' : `; ${problem}`}`;
}

function passing(error: unknown): null {
  if (error instanceof HoldfastError && (error.retryable || error.code === 'HF_NODE_UNREACHABLE'))
    return null;
  throw error;
}

function reasonOf({ reason }: NodeOptions): { reason?: string } {
  return reason === undefined ? {} : { reason };
}
