/** `holdfast bootstrap`: the first node manager of a cluster whose agents are running. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createMasterClient, createNodeClient } from '#client';
import { HoldfastError, parseSettings } from '#core';
import { findStateRoot, readToken, tokenPathOf } from '../cluster-location.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';
import { packBuiltIn, systemPackages } from '../up/built-in.ts';
import { startManager } from '../up/manager-start.ts';
import { managerAddress, uriOf } from '../up/plan.ts';
import { waitForMaster } from '../up/readiness.ts';

const masterTimeoutMs = 60_000;

export async function runBootstrap(
  options: { settings: string; node: string; tokenFile?: string; json?: boolean },
  { cwd, interruptions, stdout, system }: Environment,
): Promise<void> {
  const settingsFile = resolve(cwd, options.settings);
  const text = await readFile(settingsFile, 'utf8').catch((cause: unknown) => {
    throw new HoldfastError('HF_USAGE', `cannot read the settings file ${settingsFile}`, { cause });
  });
  const { settings } = parseSettings(text);
  const token = await readToken(tokenPathOf(await findStateRoot(cwd), options));
  const node = createNodeClient({ uri: options.node, token });
  const packages = await packBuiltIn(systemPackages);
  const master = managerAddress(settings);
  const manager = await startManager({ node, packages, settings, settingsFile });
  const masterUri = uriOf(master);
  await waitForMaster(createMasterClient({ uri: masterUri, token }), {
    system,
    signal: interruptions.asked,
    timeoutMs: masterTimeoutMs,
  });
  stdout.write(
    options.json
      ? jsonLine({ masterUri, processId: manager.processId })
      : `the node manager runs as ${manager.processId}; master API: ${masterUri}\n`,
  );
}
