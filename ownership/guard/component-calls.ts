/** The guard's calls to the component: each effect that opens, closes or runs something, and the event that its end becomes. */
import type { Component, Fence, Logger, Resource, ResourceHandler, ResourceKey } from '#core';
import type { GuardMetrics } from './contract.ts';
import {
  createOpenResource,
  fenceOfRefusal,
  notOwner,
  openFailure,
  refusalOf,
  type OpenResource,
} from './resource.ts';
import type { GuardEffect, GuardEvent } from './step.ts';

export type ComponentEffect = Extract<
  GuardEffect,
  { type: 'open' | 'close' | 'run' | 'reject' | 'end-right' }
>;

export type Run = (handler: ResourceHandler, resource: Resource) => Promise<unknown>;

/** Counted since the start. */
export type ComponentMetrics = Pick<
  GuardMetrics,
  'overruns' | 'opens' | 'openFailures' | 'closeFailures' | 'refusals'
>;

export interface ComponentCalls {
  perform(effect: ComponentEffect): void;
  /** A request in the making: `dispatch` it under this id, and the promise settles with what becomes of it. */
  prepare<T>(run: (handler: ResourceHandler, resource: Resource) => Promise<T>): {
    requestId: number;
    answer: Promise<T>;
  };
  /** The alarm that this opening has set and not seen come, epoch milliseconds. */
  alarmOf(openId: number): number | null;
  /** The alarm of that time has come, and is settled. */
  alarmSettled(resource: Resource, atMs: number): void;
  /** Requests that run at this moment. */
  readonly inFlight: number;
  readonly metrics: ComponentMetrics;
}

export interface ComponentCallsPorts {
  component: Pick<Component, 'openResource'>;
  log: Logger;
  dispatch: (event: GuardEvent) => void;
  /** Whether this opening may act at this moment. */
  owns: (key: ResourceKey, openId: number) => boolean;
  setAlarm: (key: ResourceKey, fence: Fence, atMs: number | null) => Promise<boolean>;
}

interface Pending {
  run: Run;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export function createComponentCalls(ports: ComponentCallsPorts): ComponentCalls {
  const { component, log, dispatch, owns, setAlarm } = ports;
  const opened = new Map<number, OpenResource>();
  const openings = new WeakMap<Resource, OpenResource>();
  const pending = new Map<number, Pending>();
  const metrics = { overruns: 0, opens: 0, openFailures: 0, closeFailures: 0, refusals: 0 };
  let lastRequestId = 0;
  let inFlight = 0;

  async function open({ key, openId, fence, hadOwner }: Extract<ComponentEffect, { type: 'open' }>) {
    const opening = createOpenResource(
      { key, fence, hadOwner },
      { owned: () => owns(key, openId), setAlarm: atMs => setAlarm(key, fence, atMs) },
    );
    opened.set(openId, opening);
    openings.set(opening.resource, opening);
    metrics.opens++;
    let event: GuardEvent;
    try {
      opening.handler = await component.openResource!(opening.resource);
      event = { type: 'opened', key, openId };
    } catch (error) {
      opening.right.abort(notOwner(key));
      opened.delete(openId);
      const held = fenceOfRefusal(error);
      if (held === null) {
        metrics.openFailures++;
        log.error({ err: error, key, fence: fence.toString() }, 'the resource could not be opened');
        event = { type: 'failed', key, openId, error: openFailure(key, error) };
      } else {
        const facts = { key, fence: fence.toString(), held: held.toString() };
        log.warn(facts, 'the resource has seen a higher fence');
        event = { type: 'open-fenced', key, openId, held, error };
      }
    }
    dispatch(event);
  }

  async function close({ key, openId }: Extract<ComponentEffect, { type: 'close' }>): Promise<void> {
    try {
      await opened.get(openId)!.handler!.close();
    } catch (error) {
      metrics.closeFailures++;
      log.error({ err: error, key }, 'the resource could not be closed cleanly');
    }
    dispatch({ type: 'closed', key, openId });
    opened.delete(openId);
  }

  async function run({ key, openId, requestId }: Extract<ComponentEffect, { type: 'run' }>): Promise<void> {
    const { run: serve, resolve, reject } = pending.get(requestId)!;
    pending.delete(requestId);
    const { handler, resource } = opened.get(openId)!;
    let answered = true;
    inFlight++;
    try {
      resolve(await serve(handler!, resource));
    } catch (error) {
      answered = !isNotOwner(error);
      reject(error);
      const held = fenceOfRefusal(error);
      if (held !== null) {
        log.warn({ key, held: held.toString() }, 'the resource refuses our fence; giving it back');
        dispatch({ type: 'fenced', key, openId });
      }
    } finally {
      inFlight--;
      if (answered && !owns(key, openId)) metrics.overruns++;
      dispatch({ type: 'done', key, openId });
    }
  }

  function refuse({ key, requestId, reason }: Extract<ComponentEffect, { type: 'reject' }>): void {
    const { reject } = pending.get(requestId)!;
    pending.delete(requestId);
    if (reason.type === 'not-owner') metrics.refusals++;
    if (reason.type === 'open-late') log.error({ key }, 'the component takes too long to open the resource');
    reject(refusalOf(key, reason));
  }

  return {
    metrics,
    get inFlight() {
      return inFlight;
    },
    prepare<T>(serve: (handler: ResourceHandler, resource: Resource) => Promise<T>) {
      const requestId = ++lastRequestId;
      const answer = new Promise<T>((resolve, reject) => {
        pending.set(requestId, { run: serve, resolve: value => resolve(value as T), reject });
      });
      return { requestId, answer };
    },
    alarmOf: openId => opened.get(openId)?.alarmAtMs ?? null,
    alarmSettled(resource, atMs) {
      const opening = openings.get(resource);
      if (opening?.alarmAtMs === atMs) opening.alarmAtMs = null;
    },
    perform(effect) {
      switch (effect.type) {
        case 'open':
          return void open(effect);
        case 'close':
          return void close(effect);
        case 'run':
          return void run(effect);
        case 'reject':
          return refuse(effect);
        case 'end-right':
          return opened.get(effect.openId)?.right.abort(notOwner(effect.key));
      }
    },
  };
}

function isNotOwner(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'HF_NOT_OWNER';
}
