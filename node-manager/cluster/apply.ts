/**
 * Makes a plan come true: every action as soon as those it needs have succeeded, a bounded number at once, each with
 * a deadline. Actions are idempotent, so an unknown outcome is settled by looking again. Stops as soon as this
 * manager does not lead any more. Nobody waits for ever: one component that does not come up must not keep the cluster
 * from everything else, so after a while what has begun goes on by itself, and the rest is for another plan.
 */
import { DEFAULTS, HoldfastError, type Logger, type System } from '#core';
import type { NodeClient } from '#client';
import type { Action } from '../planning/model.ts';
import { createGate } from './bounded.ts';

export interface ActionOutcome {
  action: Action;
  /** `skipped`: something it needs did not succeed, or not in time. */
  result: 'done' | 'failed' | 'skipped';
  error: HoldfastError | null;
}

export interface ApplyOptions {
  log: Logger;
  client: (node: string) => NodeClient;
  bytes: (packageName: string, packageVersion: string) => Promise<Buffer>;
  system: System;
  /** Whether a node answers: an action on one that ceased to is not waited for. */
  answers: (node: string) => boolean;
  /** Throws HF_NOT_LEADER when this manager may not act. */
  assertLeading: () => void;
  /** How long to wait for all of them. */
  patienceMs: number;
  /** Leaves the lead to another manager. */
  resign: () => Promise<void>;
  onBegin: (action: Action) => void;
  /** Called as each action ends, also after the wait. */
  onOutcome: (outcome: ActionOutcome) => void;
}

const parallelMax = 64;

/** Resolves to what has ended in time. */
export async function apply(actions: readonly Action[], options: ApplyOptions): Promise<ActionOutcome[]> {
  const gate = createGate(parallelMax);
  const running = new Map<string, Promise<ActionOutcome>>();
  // Many nodes get the same ZIP: it is read once.
  const zips = new Map<string, Promise<Buffer>>();
  const ended: ActionOutcome[] = [];
  let late = false;
  for (const action of actions) running.set(action.id, run(action));
  const over = new AbortController();
  await Promise.race([
    Promise.all(running.values()),
    options.system.timers.sleep(options.patienceMs, over.signal).catch(() => {}), // all have ended
  ]);
  over.abort();
  late = true;
  return [...ended];

  async function run(action: Action): Promise<ActionOutcome> {
    // A plan lists what is needed before what needs it, so the promises are there already.
    const needed = await Promise.all(action.needs.flatMap(id => running.get(id) ?? []));
    const failed = needed.some(outcome => outcome.result !== 'done');
    const outcome = failed ? skipped(action) : await gate(() => attempt(action));
    ended.push(outcome);
    options.onOutcome(outcome);
    return outcome;
  }

  async function attempt(action: Action): Promise<ActionOutcome> {
    if (late) return skipped(action);
    try {
      options.assertLeading();
      options.onBegin(action);
      const over = new AbortController();
      try {
        await Promise.race([perform(action), nodeLost(action.node, over.signal)]);
      } finally {
        over.abort();
      }
      options.log.info({ action: action.id, reason: action.reason }, 'action done');
      return { action, result: 'done', error: null };
    } catch (cause) {
      const error =
        cause instanceof HoldfastError ? cause : new HoldfastError('HF_INTERNAL', String(cause), { cause });
      options.log.warn({ action: action.id, code: error.code, error: error.message }, 'action failed');
      return { action, result: 'failed', error };
    }
  }

  function skipped(action: Action): ActionOutcome {
    return { action, result: 'skipped', error: null };
  }

  /** Rejects when the node does not answer any more; settles without effect when the action is over. */
  async function nodeLost(node: string, over: AbortSignal): Promise<void> {
    for (;;) {
      const waited = await options.system.timers.sleep(250, over).then(
        () => true,
        () => false, // the action ended first
      );
      if (!waited) return;
      if (!options.answers(node)) {
        throw new HoldfastError('HF_NODE_UNREACHABLE', `${node} ceased to answer; the outcome is not known`);
      }
    }
  }

  async function perform(action: Action): Promise<void> {
    if (action.type === 'resign') return options.resign();
    const client = options.client(action.node);
    switch (action.type) {
      case 'upload-package': {
        const { packageName, packageVersion, makeCurrent, sha256 } = action;
        const key = `${packageName}@${packageVersion}`;
        let zip = zips.get(key);
        if (!zip) zips.set(key, (zip = options.bytes(packageName, packageVersion)));
        const { package: info } = await client.uploadPackage(await zip, {
          makeCurrent,
          ...(sha256 === undefined ? {} : { sha256 }),
        });
        if (info.packageName !== packageName || info.packageVersion !== packageVersion) {
          throw new HoldfastError(
            'HF_PACKAGE_INVALID',
            `the ZIP given for ${key} holds ${info.packageName}@${info.packageVersion}`,
          );
        }
        return;
      }
      case 'stop': {
        const { killed, failed } = await stop(client, action);
        const problem = failed.find(item => item.processId === action.processId);
        if (problem && !killed.includes(action.processId)) {
          throw new HoldfastError(
            'HF_WRONG_STATE',
            `${action.processId} was not stopped: ${problem.message}`,
          );
        }
        return;
      }
      case 'start':
        await client.start(action.packageName, action.request, { timeoutMs: action.deadlineMs });
    }
  }

  /** One that is gone already is stopped. */
  async function stop(client: NodeClient, action: Action & { type: 'stop' }) {
    try {
      return await client.kill(action.packageName, action.processId, { graceMs: DEFAULTS.stopGraceMs });
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'HF_PROCESS_NOT_FOUND') {
        return { killed: [action.processId], failed: [] };
      }
      throw error;
    }
  }
}
