/** `holdfast key …`: what an operator does with single keys. */
import type { ResourceInfo } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

type KeyOptions = ConnectOptions & { instance?: string; json?: boolean };

export async function showKey(key: string, options: KeyOptions, environment: Environment): Promise<void> {
  const { master } = await connectToCluster(environment.cwd, options);
  const found = await master.resource(key, named(options));
  answer(found, `${describe(found)}, under fence ${found.fence}`, options, environment);
}

export async function moveKey(
  key: string,
  options: KeyOptions & { to?: string },
  environment: Environment,
): Promise<void> {
  const { master } = await connectToCluster(environment.cwd, options);
  const to = options.to === undefined ? {} : { to: options.to };
  const outcome = await master.move(key, { ...named(options), ...to });
  const owner = outcome.resource ? describe(outcome.resource) : `${key} is owned by nobody now`;
  answer(outcome, outcome.moved ? `moved: ${owner}` : `not moved: ${owner}`, options, environment);
}

export async function releaseKey(key: string, options: KeyOptions, environment: Environment): Promise<void> {
  const { master } = await connectToCluster(environment.cwd, options);
  const outcome = await master.release(key, named(options));
  const text = outcome.released
    ? `${key} was given back; the next request for it finds a host`
    : `${key} had changed hands already`;
  answer(outcome, text, options, environment);
}

export async function pauseKey(key: string, options: KeyOptions, environment: Environment): Promise<void> {
  const { master } = await connectToCluster(environment.cwd, options);
  const outcome = await master.pause(key, named(options));
  const text = `${key} of ${outcome.instanceId} is paused: nobody owns it until \`holdfast key resume ${key}\``;
  answer(outcome, text, options, environment);
}

export async function resumeKey(key: string, options: KeyOptions, environment: Environment): Promise<void> {
  const { master } = await connectToCluster(environment.cwd, options);
  const outcome = await master.resume(key, named(options));
  answer(outcome, `${key} of ${outcome.instanceId} may be owned`, options, environment);
}

function named({ instance }: KeyOptions): { instance?: string } {
  return instance === undefined ? {} : { instance };
}

function describe({ key, instanceId, owner }: ResourceInfo): string {
  return `${key} of ${instanceId} is owned by ${owner.processId} on ${owner.nodeName}`;
}

function answer(outcome: unknown, text: string, { json }: KeyOptions, { stdout }: Environment): void {
  stdout.write(json ? jsonLine(outcome) : `${text}\n`);
}
