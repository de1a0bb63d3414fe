/**
 * The component: writes the rows of each message in one transaction together with the message's id, so that a message that comes again, to this
 * copy or to another one, writes nothing.
 *
 * A database that is away costs no message its attempts: it waits here, unacknowledged, until the database is back. What the database refuses is rejected,
 * comes again as often as the publisher's `maxDeliver` says, and becomes a dead letter.
 */
import type { Component, ComponentContext, Message, System } from '#core';
import { createPostgresTarget } from './postgres-target.ts';
import { rowsOf } from './rows.ts';
import { readSettings, type WriterSettings } from './settings.ts';
import { createSqliteTarget } from './sqlite-target.ts';
import { AwayError, type Target } from './target.ts';

const retryMs = { first: 100, max: 5_000 };
const forgetEveryMs = 3_600_000;

export function createService(context: ComponentContext, system: System): Component {
  const ending = new AbortController();
  let settings: WriterSettings;
  let target: Target;
  let isOpen = false;
  let stopForgetting = (): void => {};
  const counts = { messages: 0, rows: 0, repeated: 0, refused: 0 };

  /** Until it has worked, the database has refused, or nobody waits for the outcome any more. */
  async function withDatabase<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    for (let delayMs = retryMs.first; ; delayMs = Math.min(2 * delayMs, retryMs.max)) {
      signal.throwIfAborted();
      try {
        if (!isOpen) await target.open();
        isOpen = true;
        const result = await work();
        context.reportHealth({ ready: true });
        return result;
      } catch (error) {
        if (!(error instanceof AwayError)) throw error;
        context.log.warn({ err: error, retryInMs: delayMs }, 'the database is away');
        context.reportHealth({ ready: false, message: `messages wait for the database: ${error.message}` });
        await system.timers.sleep(delayMs, signal);
      }
    }
  }

  async function write(message: Message, signal: AbortSignal): Promise<void> {
    const rows = rowsOf(message, settings.table.columns);
    const isNew = await withDatabase(signal, () =>
      target.write(message.messageId, rows, system.clock.wallMs()),
    );
    counts.messages++;
    if (isNew) counts.rows += rows.length;
    else counts.repeated++;
  }

  return {
    async start() {
      settings = readSettings(context.settings, context.dataDirectory);
      target = createTarget(settings);
      for (const messageType of settings.messageTypes) {
        context.subscribe(messageType, { concurrency: settings.concurrency });
      }
      stopForgetting = system.timers.every(forgetEveryMs, () => {
        const beforeMs = system.clock.wallMs() - settings.rememberMs;
        target.forget(beforeMs).catch((error: unknown) => {
          context.log.warn({ err: error }, 'ids of old messages stay for another hour');
        });
      });
    },
    async stop() {
      stopForgetting();
      ending.abort(
        Object.assign(new Error('the component stops'), { name: 'HoldfastError', code: 'HF_UNAVAILABLE' }),
      );
      await target.close();
    },
    async onMessage(message, delivery) {
      const signal = AbortSignal.any([ending.signal, delivery.signal]);
      try {
        await write(message, signal);
      } catch (error) {
        if (!signal.aborted) counts.refused++;
        throw error;
      }
    },
    fetch() {
      const { instanceId, processId, nodeName } = context;
      return Response.json({ instanceId, processId, node: nodeName, table: settings.table.name, ...counts });
    },
  };
}

function createTarget(settings: WriterSettings): Target {
  const { target } = settings;
  if (target.kind === 'sqlite') return createSqliteTarget(target.file, settings);
  const url = process.env[target.urlEnv];
  if (!url) {
    throw Object.assign(
      new Error(
        `target.urlEnv: the environment has no ${target.urlEnv}; give it to the instance: "env": {"${target.urlEnv}": {"secretRef": "<name>"}}`,
      ),
      { name: 'HoldfastError', code: 'HF_SETTINGS_INVALID' },
    );
  }
  return createPostgresTarget(url, settings);
}
