/** What every plan keeps to, whatever it was made from. */
import assert from 'node:assert/strict';
import {
  desiredInstances,
  parseSettingsId,
  type Action,
  type ObservedProcess,
  type Plan,
} from '#node-manager';
import type { World } from './made-up-cluster.ts';

interface Seen {
  node: string;
  process: ObservedProcess;
  slot: string;
}

export function checkPlan(world: World, made: Plan): void {
  const stopped = new Set<string>();
  const starts = made.actions.filter(action => action.type === 'start');
  for (const action of made.actions) {
    const node = world.nodes.get(action.node)!;
    assert.equal(node.state, 'ready', 'acts only on nodes that answer');
    if (action.type === 'stop') {
      const process = node.processes.find(found => found.processId === action.processId)!;
      assert.notEqual(process.packageName, 'node-manager', 'managers are not touched');
      assert.notEqual(process.settingsId, 'started-by-hand', 'what operators started is not touched');
      stopped.add(action.processId);
    }
  }
  const ids = made.actions.map(action => action.id);
  assert.equal(new Set(ids).size, ids.length, 'no action twice');
  for (const action of starts) checkStart(world, action, stopped);
  checkCapacity(world, starts, stopped);
  for (const shown of made.instances) checkInstance(world, shown, starts, stopped);
}

function checkStart(world: World, action: Action & { type: 'start' }, stopped: ReadonlySet<string>): void {
  const wanted = desiredInstances(world).find(found => found.settings.id === action.instanceId)!;
  const allowed = [wanted.current, wanted.previous].map(item => item?.start(action.slot).settingsId);
  assert.ok(allowed.includes(action.settingsId), 'starts only what is desired, or what was before');
  const server = world.settings.nodeServers.find(item => item.networkName === action.node);
  assert.ok(server, 'only on nodes of the settings');
  const node = world.nodes.get(action.node)!;
  const perNode = wanted.settings.instances === 'perNode';
  const maintenance = world.maintenance[action.node];
  const renews = perNode && seenOf(world, action.instanceId).some(item => item.node === action.node);
  assert.notEqual(maintenance?.state, 'draining', 'nothing starts on a node that is drained');
  assert.ok(!maintenance || renews, 'nothing new starts on a cordoned node');
  assert.ok(!node.flapping || renews, 'nothing new starts on a flapping node');
  assert.equal(node.pressure.length, 0, 'nothing starts on a node that is short of something');
  const there = node.processes.find(
    item =>
      item.settingsId === action.settingsId &&
      item.packageName !== 'node-manager' &&
      item.state !== 'Exited' &&
      !stopped.has(item.processId),
  );
  assert.equal(there, undefined, 'nothing starts twice on one node');
  if (wanted.settings.ports.length === 0 || perNode) return;
  for (const { node: name, process, slot } of seenOf(world, action.instanceId)) {
    const address = world.settings.nodeServers.find(item => item.networkName === name)?.networkIp;
    const shares = slot === action.slot && address === server.networkIp && node.state === 'ready';
    if (process.state === 'Stopping' || world.nodes.get(name)!.state !== 'ready') continue;
    assert.ok(
      !shares || stopped.has(process.processId),
      `two copies would listen on the port of slot ${slot}`,
    );
  }
}

function checkCapacity(
  world: World,
  starts: readonly (Action & { type: 'start' })[],
  stopped: ReadonlySet<string>,
): void {
  const weights = new Map(world.settings.componentInstances.map(item => [item.id, item.resources.weight]));
  const weightOf = (settingsId: string | null) => weights.get(settingsId?.split('/')[0] ?? '') ?? 0;
  for (const { networkName, capacity } of world.settings.nodeServers) {
    const here = starts.filter(action => action.node === networkName);
    if (here.length === 0) continue;
    const stay = world.nodes
      .get(networkName)!
      .processes.filter(
        item =>
          !stopped.has(item.processId) && item.packageName !== 'node-manager' && item.state !== 'Stopping',
      )
      .reduce((sum, item) => sum + weightOf(item.settingsId), 0);
    const added = here.reduce((sum, item) => sum + weightOf(item.settingsId), 0);
    assert.ok(
      stay + added <= capacity,
      `${networkName} is not overfilled: ${stay} + ${added} of ${capacity}`,
    );
  }
}

/** Neither too many copies nor too few by the plan's own doing, and no more of the new revision than the rollout allows. */
function checkInstance(
  world: World,
  shown: Plan['instances'][number],
  allStarts: readonly (Action & { type: 'start' })[],
  stopped: ReadonlySet<string>,
): void {
  const desired = desiredInstances(world).find(found => found.settings.id === shown.id)!;
  const { update } = desired.settings;
  const starts = allStarts.filter(action => action.instanceId === shown.id);
  const overdue = (node: string) => world.maintenance[node]?.deadlineAt != null;
  const gone = (name: string) => {
    const server = world.settings.nodeServers.find(item => item.networkName === name);
    const wrong = Object.entries(desired.settings.constraints.labels).some(
      ([label, value]) => server?.labels[label] !== value,
    );
    return !server || wrong || world.maintenance[name]?.state === 'draining';
  };
  const perNode = desired.settings.instances === 'perNode';
  const seen = seenOf(world, shown.id).filter(
    ({ node }) => world.nodes.get(node)!.state === 'ready' && (!perNode || !gone(node)),
  );
  const running = seen.filter(({ process }) => process.state !== 'Stopping');
  const staying = running.filter(({ process }) => !stopped.has(process.processId));
  const total = staying.length + starts.length;
  const beside = starts.filter(({ reason, needs }) => reason !== 'it is missing' && !needs.some(isStop));
  assert.ok(
    beside.length === 0 || total <= Math.max(running.length, shown.desired + update.maxSurge),
    `${shown.id}: ${total} copies, ${shown.desired} and ${update.maxSurge} more are allowed`,
  );

  const slotsMax = desired.settings.ports.length > 0 ? shown.desired : Infinity;
  const hasItsSlot = ({ slot, node }: Seen) =>
    perNode ? slot === node : /^[0-9]+$/.test(slot) && Number(slot) < slotsMax;
  const limit = world.rollouts[shown.id]?.limit ?? null;
  if (limit !== null && desired.previous) {
    const isNew = (settingsId: string | null, slot: string) =>
      settingsId === desired.current?.start(slot).settingsId;
    const before = running.filter(({ process, slot }) => isNew(process.settingsId, slot)).length;
    const begun = starts.filter(action => isNew(action.settingsId, action.slot)).length;
    // A copy that is moved is there twice for a while; the slots are what is limited.
    const slots = new Set([
      ...staying
        .filter(item => hasItsSlot(item) && isNew(item.process.settingsId, item.slot))
        .map(({ slot }) => slot),
      ...starts.filter(action => isNew(action.settingsId, action.slot)).map(({ slot }) => slot),
    ]);
    assert.ok(begun === 0 || slots.size <= Math.max(limit, before), `${shown.id}: the canary spreads`);
  }

  const available = ({ process, slot, node }: Seen) =>
    process.state === 'Running' &&
    process.healthySinceMs !== null &&
    !overdue(node) &&
    (gone(node) ||
      !hasItsSlot({ process, slot, node }) ||
      process.settingsId !== desired.current?.start(slot).settingsId ||
      world.nowMs - process.healthySinceMs >= update.healthyAfterMs);
  const slotsOf = (items: readonly Seen[]) =>
    new Set(items.filter(available).map(({ slot, node }) => (perNode ? node : slot))).size;
  // What no node takes is no reason to hold an update back.
  const unplaced = shown.problems.filter(text => text.includes('cannot be placed')).length;
  const floor = Math.min(slotsOf(running), shown.desired - update.maxUnavailable - unplaced);
  const left = slotsOf(staying);
  assert.ok(left >= floor, `${shown.id}: ${left} slots are available, at least ${floor} are expected`);
}

const isStop = (id: string) => id.startsWith('stop ');

function seenOf(world: World, instanceId: string): Seen[] {
  return [...world.nodes.values()].flatMap(node =>
    node.processes.flatMap(process => {
      const parsed = parseSettingsId(process.settingsId);
      return parsed?.instanceId === instanceId &&
        process.packageName !== 'node-manager' &&
        process.state !== 'Exited'
        ? [{ node: node.name, process, slot: parsed.slot }]
        : [];
    }),
  );
}
