/**
 * `holdfast up`: the cluster of a settings file on this machine, in the foreground. It starts what it can at once (packing,
 * coordinator, agents), brings the node manager to the first node, and waits until the manager has made the rest.
 * Whatever ends it (Ctrl-C, a signal, its starter's death) stops everything; nothing outlives it.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createMasterClient, createNodeClient } from '#client';
import {
  COORDINATION_FILE,
  DEFAULTS,
  HoldfastError,
  parseSettings,
  writeFileDurably,
  type ClusterSettings,
  type System,
} from '#core';
import type { StoredAddress } from '#node-api';
import { endCoordinator, ensureCoordinator } from '#ownership';
import { clusterFilePath, STATE_FOLDER, type ClusterFile } from '../cluster-location.ts';
import { requireFitStore, storeAddress } from '../coordination/store-address.ts';
import { EXIT } from '../failure.ts';
import { jsonLine, shownPath } from '../output.ts';
import type { Environment } from '../environment.ts';
import { startAgents, type Agents } from './agents.ts';
import { packBuiltIn } from './built-in.ts';
import { dropOutdated, startManager } from './manager-start.ts';
import { neededPorts, planUp, uriOf, type UpPlan } from './plan.ts';
import { checkPorts } from './ports.ts';
import { showProgress } from './progress.ts';
import { followCluster, waitForInstances, waitForMaster, waitForRouter } from './readiness.ts';
import { openState, type State } from './state.ts';
import { describeCluster } from './summary.ts';

export interface UpOptions {
  settings: string;
  state?: string;
  json?: boolean;
}

const masterTimeoutMs = 60_000;
const instancesTimeoutMs = 60_000;
/** What a killed run left behind ends within a stop's time; then its ports are free. */
const leftoverMs = DEFAULTS.stopMs + 4_000;

/** Everything that a start works with. */
interface Start {
  environment: Environment;
  settings: ClusterSettings;
  settingsFile: string;
  plan: UpPlan;
  state: State;
  store: StoredAddress;
  say: (text: string) => void;
}

export async function up(options: UpOptions, environment: Environment): Promise<number> {
  const { interruptions, system, stdout, stderr, cwd } = environment;
  const startedAtMs = system.clock.monotonicMs();
  const say = (text: string) => void stderr.write(`${text}\n`);
  const settingsFile = resolve(cwd, options.settings);
  const { settings, warnings } = parseSettings(await readSettings(settingsFile));
  const plan = planUp(settings);
  for (const warning of warnings) say(warning);

  interruptions.takeOver();
  const stateRoot = options.state ? resolve(cwd, options.state) : join(dirname(settingsFile), STATE_FOLDER);
  const state = await openState(stateRoot);
  for (const repair of state.repairs) say(repair);
  let agents: Agents | undefined;
  try {
    const store = await prepareStore(settings, state, { system, say });
    const start: Start = { environment, settings, settingsFile, plan, state, store, say };
    await checkPorts(neededPorts(plan), {
      system,
      patienceMs: state.crashed ? leftoverMs : 0,
      signal: interruptions.asked,
      onWait: () => say('waiting for what a killed run left behind to end'),
    });
    agents = startAgents(agentOptions(start), { system, say });
    const file = await bringUp(start, agents);
    const seconds = (system.clock.monotonicMs() - startedAtMs) / 1000;
    stdout.write(
      options.json
        ? jsonLine({ ready: true, ...file, tokenFile: state.tokenPath, seconds })
        : describeCluster(
            { ...file, settingsFile: shownPath(cwd, settingsFile) },
            { settings, tokenPath: shownPath(cwd, state.tokenPath), seconds },
          ),
    );
    const master = createMasterClient({ uri: file.masterUri, token: state.token });
    const noteManagers = (managers: string[]) =>
      writeFileDurably(clusterFilePath(state.root), `${JSON.stringify({ ...file, managers }, null, 2)}\n`);
    await followCluster(master, { system, signal: interruptions.asked, say, noteManagers });
  } catch (error) {
    if (!interruptions.asked.aborted) throw error;
  } finally {
    if (interruptions.asked.aborted) say('stopping');
    await stopAll(agents, environment);
    if (agents) await endCoordinator(state.root, system); // there is none on Redis
    state.release();
  }
  return EXIT.ok;
}

async function readSettings(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HoldfastError('HF_USAGE', `cannot read the settings file ${path}; name one with --settings`, {
      cause,
    });
  }
}

/** Where agents find the store: those of this run by argument, others that join on this machine because it lies in its state folder. */
async function prepareStore(
  settings: ClusterSettings,
  state: State,
  deps: { system: System; say: (text: string) => void },
): Promise<StoredAddress> {
  const store = await storeAddress(settings, join(state.root, 'secrets'));
  if (store.kind === 'redis') await requireFitStore(store, deps);
  await writeFileDurably(join(state.root, COORDINATION_FILE), `${JSON.stringify(store, null, 2)}\n`);
  return store;
}

function agentOptions({ plan, settings, state }: Start) {
  return plan.nodes.map(node => ({
    name: node.networkName,
    listen: new URL(node.nodeApiUri).host,
    dataDirectory: join(state.root, 'nodes', node.networkName),
    stateRoot: state.root,
    tokenFile: state.tokenPath,
    coordinationFile: join(state.root, COORDINATION_FILE),
    clusterName: settings.clusterName,
    warmSpares: settings.warmSpares,
    orphanGraceMs: settings.orphanGraceMs,
  }));
}

/** From agents that are starting to a cluster that does what its settings say. */
async function bringUp(start: Start, agents: Agents): Promise<ClusterFile> {
  const { environment, plan, settings, settingsFile, state, store, say } = start;
  const { interruptions, stderr, system } = environment;
  const signal = interruptions.asked;
  const token = state.token;
  const nodes = plan.nodes.map(node => createNodeClient({ uri: node.nodeApiUri, token }));
  const masterUri = uriOf(plan.master);
  const routerUri = uriOf(plan.routers[0]!);
  const master = createMasterClient({ uri: masterUri, token });
  let instances = '';

  const packed = packBuiltIn();
  const coordinator = store.kind === 'embedded' ? ensureCoordinator(state.root, system) : null;
  const manager = (async () => {
    const [packages] = await Promise.all([packed, coordinator, agents.ready]);
    const dropped = await Promise.all(nodes.map(node => dropOutdated(node, packages)));
    for (const name of new Set(dropped.flat()))
      say(`${name} was changed without a new version; replaced on the nodes`);
    await startManager({ node: nodes[0]!, packages, settings, settingsFile });
    await waitForMaster(master, { system, signal, timeoutMs: masterTimeoutMs });
  })();
  const problems = manager.then(() =>
    waitForInstances(master, {
      system,
      signal,
      timeoutMs: instancesTimeoutMs,
      say: text => (instances = text),
    }),
  );
  const router = manager.then(() =>
    waitForRouter(routerUri, { system, signal, timeoutMs: instancesTimeoutMs }),
  );
  const steps = [
    { title: 'packages', done: packed },
    ...(coordinator ? [{ title: 'coordinator', done: coordinator }] : []),
    { title: `${nodes.length} node agents`, done: agents.ready },
    { title: 'node manager', done: manager },
    { title: 'instances', done: problems, detail: () => instances },
    { title: 'router', done: router },
  ];
  await Promise.race([showProgress(steps, stderr, system), rejectWhenAborted(signal)]);

  for (const problem of await problems) say(`problem: ${problem}`);
  if (!(await router)) say(`problem: the router does not answer at ${routerUri}`);
  const file: ClusterFile = {
    clusterName: settings.clusterName,
    masterUri,
    managers: [masterUri],
    routerUri,
    nodes: settings.nodeServers.map(({ networkName, nodeApiUri }) => ({ networkName, nodeApiUri })),
    settingsFile,
  };
  await writeFileDurably(clusterFilePath(state.root), `${JSON.stringify(file, null, 2)}\n`);
  return file;
}

/** Stops the agents with their hosts; what is not gone in time, or when the user insists, is ended. Idempotent. */
async function stopAll(agents: Agents | undefined, { interruptions, system }: Environment): Promise<void> {
  if (!agents) return;
  const kill = () => agents.kill();
  if (interruptions.insisted.aborted) kill();
  interruptions.insisted.addEventListener('abort', kill, { once: true });
  const cancel = system.timers.after(DEFAULTS.stopMs, kill, { keepAlive: true });
  await agents.stop();
  cancel();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(done => {
    if (signal.aborted) return done();
    signal.addEventListener('abort', () => done(), { once: true });
  });
}

async function rejectWhenAborted(signal: AbortSignal): Promise<never> {
  await aborted(signal);
  throw signal.reason;
}
