/** `holdfast deploy <zip>`: upload once, declare an instance if asked, and wait until the new version runs everywhere. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { MasterClient } from '#client';
import { HoldfastError, type Manifest, type MasterStatus } from '#core';
import { readPackage } from '#package-manager';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, size } from '../output.ts';
import type { Environment } from '../environment.ts';
import { parseDuration } from './duration.ts';
import { endedDeployments, follow, parseTimeout } from './follow.ts';
import { instancesOf, jobsOf, suggestion, withInstance, type DesiredInstance } from './settings-edit.ts';

export interface DeployOptions extends ConnectOptions {
  instances?: string;
  once?: boolean;
  cron?: string;
  id?: string;
  route?: string;
  canary?: string;
  promoteAfter?: string;
  timeout: string;
  json?: boolean;
}

export async function runDeploy(
  zipPath: string,
  options: DeployOptions,
  { cwd, interruptions, stdout, stderr, system }: Environment,
): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout);
  const instances = options.instances === undefined ? null : parseInstances(options.instances);
  const job = jobOf(options);
  if (instances === null && (options.route !== undefined || (options.id !== undefined && job === null))) {
    throw new HoldfastError('HF_USAGE', '--id and --route need --instances');
  }
  if (options.route !== undefined && !options.route.startsWith('/')) {
    throw new HoldfastError('HF_USAGE', `--route is "${options.route}", expected a path prefix like /hello`);
  }
  const canary = parseCanary(options);
  const zip = await readFile(resolve(cwd, zipPath)).catch((cause: unknown) => {
    throw new HoldfastError('HF_USAGE', `cannot read ${zipPath}; make it with: holdfast pack <folder>`, {
      cause,
    });
  });
  const { manifest, sha256 } = await readPackage(zip); // here already: a bad package need not travel
  const { packageName, packageVersion } = manifest;
  const cluster = await connectToCluster(cwd, options);
  const { master } = cluster;

  stderr.write(`uploading ${packageName} ${packageVersion} (${size(zip.length)}) to ${master.uri}\n`);
  const endedBefore = await endedDeployments(master);
  const upload = await master.uploadPackage(zip, { makeCurrent: true, sha256, timeoutMs, ...canary });
  for (const [node, problem] of Object.entries(upload.nodes)) {
    if (problem) stderr.write(`${node} does not have it: ${problem}\n`);
  }
  stderr.write(upload.created ? 'uploaded\n' : 'the cluster had it already\n');

  const desired = { ...desiredOf(manifest, options, instances ?? 1), ...(job ? { job } : {}) };
  if (instances !== null || job !== null) await declareInstance(master, desired);
  const { text } = await master.settings();
  const all = instancesOf(text, packageName);
  // Jobs run when they are due: there is nothing to wait for.
  const jobs = jobsOf(text, all);
  const using = all.filter(id => !jobs.includes(id));
  if (using.length > 0) {
    const reached = await follow(master, {
      instanceIds: using,
      packageVersion,
      endedBefore,
      timeoutMs,
      system,
      signal: interruptions.asked,
      say: text => stderr.write(`${text}\n`),
    });
    if ('promote' in reached) reportCanaries(reached.promote);
    else report(reached.status, { using, packageName, packageVersion });
    return;
  }
  if (jobs.length > 0) {
    const next = jobs.map(
      id => `${id} runs ${packageName} ${packageVersion} when it is due; see: holdfast jobs show ${id}\n`,
    );
    stdout.write(
      options.json ? jsonLine({ packageName, packageVersion, instances: [], jobs }) : next.join(''),
    );
    return;
  }
  stdout.write(
    options.json
      ? jsonLine({ packageName, packageVersion, instances: [], running: false })
      : `No instance uses ${packageName} yet. Run the command again with --instances, or add to the settings:\n${suggestion(desired)}\n`,
  );

  function reportCanaries(promote: readonly { id: string; text: string }[]): void {
    const ids = promote.map(({ id }) => id);
    stdout.write(
      options.json
        ? jsonLine({ packageName, packageVersion, running: false, canaries: ids })
        : promote.map(({ text }) => `${text}\n`).join(''),
    );
  }

  function report(
    status: MasterStatus,
    facts: { using: string[]; packageName: string; packageVersion: string },
  ): void {
    const found = status.instances.filter(instance => facts.using.includes(instance.id));
    if (options.json) {
      stdout.write(jsonLine({ packageName, packageVersion, running: true, instances: found }));
      return;
    }
    for (const instance of found) {
      stdout.write(
        `${instance.id} runs ${packageName} ${packageVersion}: ${instance.running} on ${instance.nodes.join(', ')}\n`,
      );
    }
    for (const route of status.routes) {
      if (!facts.using.includes(route.componentInstanceId) || cluster.routerUri === null) continue;
      stdout.write(`try: curl ${cluster.routerUri}${route.pathPrefix}\n`);
    }
  }
}

function desiredOf(
  manifest: Manifest,
  options: DeployOptions,
  instances: number | 'perNode',
): DesiredInstance {
  const { packageName, packageVersion } = manifest;
  return {
    id: options.id ?? packageName,
    packageName,
    packageVersion,
    instances,
    route: options.route ?? null,
  };
}

/** @throws HoldfastError HF_USAGE */
function jobOf({ once, cron, instances, route }: DeployOptions): { cron?: string } | null {
  if (!once && cron === undefined) return null;
  if (once && cron !== undefined) throw new HoldfastError('HF_USAGE', 'choose one of --once and --cron');
  if (instances !== undefined || route !== undefined) {
    throw new HoldfastError(
      'HF_USAGE',
      'a job has neither --instances nor --route: it runs one at a time, and serves nothing',
    );
  }
  return cron === undefined ? {} : { cron };
}

/** Changes the settings through the master, guarded by their ETag; when somebody else was faster, again on theirs. */
async function declareInstance(master: MasterClient, desired: DesiredInstance): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { text, etag } = await master.settings();
    const edited = withInstance(text, desired);
    if (edited === text) return;
    try {
      await master.putSettings(edited, { ifMatch: etag });
      return;
    } catch (error) {
      if (attempt < 5 && error instanceof HoldfastError && error.code === 'HF_SETTINGS_CONFLICT') continue;
      throw error;
    }
  }
}

function parseCanary({ canary, promoteAfter }: DeployOptions): { canary?: number; promoteAfterMs?: number } {
  if (canary === undefined) {
    if (promoteAfter === undefined) return {};
    throw new HoldfastError('HF_USAGE', '--promote-after needs --canary');
  }
  if (!/^[1-9][0-9]{0,4}$/.test(canary)) {
    throw new HoldfastError('HF_USAGE', `--canary is "${canary}", expected a number of copies`);
  }
  if (promoteAfter === undefined) return { canary: Number(canary) };
  return { canary: Number(canary), promoteAfterMs: parseDuration('--promote-after', promoteAfter) };
}

function parseInstances(text: string): number | 'perNode' {
  if (text === 'perNode') return text;
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new HoldfastError('HF_USAGE', `--instances is "${text}", expected a number or perNode`);
}
