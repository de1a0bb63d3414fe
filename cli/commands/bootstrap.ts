/**
 * `holdfast bootstrap`: hands the coordination store to the agents of a new cluster, and starts its first node manager. A manager
 * on this machine watches the settings file; one elsewhere cannot see it, and is given the settings and packages over HTTP.
 */
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createMasterClient, createNodeClient, type MasterClient, type NodeClient } from '#client';
import { HoldfastError, parseSettings, type ClusterSettings, type System } from '#core';
import { findStateRoot, readToken, tokenPathOf } from '../cluster-location.ts';
import { assignStore, describeAssigned } from '../coordination/assign-store.ts';
import { isOnThisMachine } from '../coordination/local-node.ts';
import { storeAddress } from '../coordination/store-address.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';
import { packBuiltIn, systemPackages } from '../up/built-in.ts';
import { startManager } from '../up/manager-start.ts';
import { masterUriOn } from '../up/plan.ts';
import { waitForMaster } from '../up/readiness.ts';

const masterTimeoutMs = 60_000;
const retryMs = 200;

export async function runBootstrap(
  options: { settings: string; node: string; tokenFile?: string; json?: boolean },
  { cwd, interruptions, stdout, stderr, system }: Environment,
): Promise<void> {
  const settingsFile = resolve(cwd, options.settings);
  const text = await readFile(settingsFile, 'utf8').catch((cause: unknown) => {
    throw new HoldfastError('HF_USAGE', `cannot read the settings file ${settingsFile}`, { cause });
  });
  const { settings, warnings } = parseSettings(text);
  for (const warning of warnings) stderr.write(`${warning}\n`);
  const nodeUri = requireUri(options.node);
  const tokenFile = tokenPathOf(await findStateRoot(cwd), options);
  const token = await readToken(tokenFile);
  const local = await isOnThisMachine(nodeUri);
  const masterUri = masterUriOn(settings, { nodeUri, local });
  const store = await storeAddress(settings, join(dirname(tokenFile), 'secrets'));

  if (store.kind === 'redis') {
    const uris = [...new Set([nodeUri, ...settings.nodeServers.map(node => node.nodeApiUri)])];
    const assigned = await assignStore(store, { uris, token });
    for (const line of describeAssigned(assigned)) stderr.write(`${line}\n`);
    const chosen = assigned.nodes.find(({ uri }) => uri === nodeUri);
    const problem = chosen
      ? chosen.coordination.problem
      : assigned.missing.find(({ uri }) => uri === nodeUri)?.reason;
    if (problem) {
      throw new HoldfastError(
        chosen ? 'HF_COORDINATION_UNAVAILABLE' : 'HF_NODE_UNREACHABLE',
        `the node manager cannot be started on ${nodeUri}: ${problem}`,
      );
    }
  }
  const node = createNodeClient({ uri: nodeUri, token });
  const packages = await packBuiltIn(systemPackages);
  const master = createMasterClient({ uri: masterUri, token });
  const waiting = { system, signal: interruptions.asked, timeoutMs: masterTimeoutMs };
  if (!local) await uploadPackages(node, settings, dirname(settingsFile));
  const manager = await startManager({ node, packages, settings, settingsFile: local ? settingsFile : null });
  if (!local) await giveSettings(master, text, waiting);
  await waitForMaster(master, waiting);
  stdout.write(
    options.json
      ? jsonLine({ masterUri, processId: manager.processId })
      : `the node manager runs as ${manager.processId}; master API: ${masterUri}\n`,
  );
}

/** @throws HoldfastError HF_USAGE */
function requireUri(uri: string): string {
  if (URL.canParse(uri) && /^https?:\/\/[^/?#]+\/?$/.test(uri)) return uri.replace(/\/$/, '');
  throw new HoldfastError(
    'HF_USAGE',
    `--node is "${uri}", expected the URI of a node API, like http://10.0.0.4:5100`,
  );
}

/** ZIPs that the settings name lie beside the file, which a manager elsewhere does not see; it finds them on its node. */
async function uploadPackages(node: NodeClient, settings: ClusterSettings, folder: string): Promise<void> {
  const paths = [...settings.nodePackages, ...settings.componentPackages].flatMap(({ packagePath }) =>
    packagePath === undefined ? [] : [resolve(folder, packagePath)],
  );
  for (const path of new Set(paths)) {
    const zip = await readFile(path).catch((cause: unknown) => {
      throw new HoldfastError(
        'HF_SETTINGS_INVALID',
        `the settings name the package ${path}, which cannot be read`,
        {
          cause,
        },
      );
    });
    await node.uploadPackage(zip, { makeCurrent: false, sha256: hash('sha256', zip) });
  }
}

/** A new manager takes a moment until it answers, and until it leads. */
async function giveSettings(
  master: MasterClient,
  text: string,
  { system, signal, timeoutMs }: { system: System; signal: AbortSignal; timeoutMs: number },
): Promise<void> {
  const deadlineMs = system.clock.monotonicMs() + timeoutMs;
  for (;;) {
    try {
      await master.putSettings(text);
      return;
    } catch (error) {
      const passing =
        error instanceof HoldfastError && (error.retryable || error.code === 'HF_NODE_UNREACHABLE');
      if (!passing || system.clock.monotonicMs() >= deadlineMs) throw error;
    }
    await system.timers.sleep(retryMs, signal);
  }
}
