/**
 * The outboxes of one instance on one machine: a folder for each process, locked for as long as the process lives. What a process left that
 * was killed is taken over by the next one that looks: copied behind what that one has itself, then removed. Killed in between, a message
 * is sent twice; its id is the same.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, lockFolder, type FolderLock, type Logger } from '#core';
import type { WireMessage } from '../broker.ts';
import { openOutbox, type Outbox, type OutboxLimits, type Waiting } from './outbox.ts';

export interface OutboxFolder {
  /** 0 while there is no file. */
  readonly count: number;
  /** As `Outbox`. The file is made with the first message. */
  append(messages: readonly WireMessage[]): number;
  first(limit: number): Waiting[];
  remove(positions: readonly number[]): void;
  setAside(position: number, reason: string): void;
  /** Takes over what processes left that are gone, as far as there is room. */
  adopt(): void;
  /** Leaves the file for others if there is something in it. */
  close(): void;
}

const fileName = 'outbox.sqlite';
const batch = 500;

export function createOutboxFolder(options: {
  /** Holds a folder for each process; made if need be. */
  directory: string;
  /** Unique for this process. */
  name: string;
  limits: OutboxLimits;
  log: Logger;
}): OutboxFolder {
  const { directory, name, limits, log } = options;
  const own = join(directory, name);
  let opened: { outbox: Outbox; lock: FolderLock } | null = null;

  function open(): Outbox {
    if (opened) return opened.outbox;
    mkdirSync(own, { recursive: true, mode: 0o700 });
    const lock = lockFolder(own);
    try {
      opened = { outbox: openOutbox(join(own, fileName), limits), lock };
    } catch (error) {
      lock.release();
      throw error;
    }
    return opened.outbox;
  }

  /** Whether the folder can go. */
  function takeOver(folder: string): boolean {
    const file = join(folder, fileName);
    if (!existsSync(file)) return true;
    const abandoned = openOutbox(file, limits);
    try {
      for (;;) {
        const found = abandoned.first(batch);
        if (found.length === 0) return abandoned.disposable;
        const taken = open().append(found.map(({ message }) => message));
        abandoned.remove(found.slice(0, taken).map(({ position }) => position));
        if (taken < found.length) {
          log.warn({ folder }, 'there is no room yet for the messages of an outbox that was left behind');
          return false;
        }
      }
    } finally {
      abandoned.close();
    }
  }

  function adoptOne(folder: string): void {
    let lock: FolderLock;
    try {
      lock = lockFolder(folder);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'HF_ALREADY_RUNNING') return;
      if (existsSync(folder)) log.warn({ err: error, folder }, 'an outbox cannot be looked at');
      return;
    }
    try {
      if (takeOver(folder)) rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      log.error({ err: error, folder }, 'an outbox that was left behind could not be taken over');
    } finally {
      lock.release();
    }
  }

  return {
    get count() {
      return opened?.outbox.count ?? 0;
    },
    append: messages => open().append(messages),
    first: limit => opened?.outbox.first(limit) ?? [],
    remove: positions => opened?.outbox.remove(positions),
    setAside: (position, reason) => opened?.outbox.setAside(position, reason),
    adopt() {
      let names: string[];
      try {
        names = readdirSync(directory);
      } catch {
        return; // no process of this instance has needed an outbox here yet
      }
      for (const other of names.sort()) if (other !== name) adoptOne(join(directory, other));
    },
    close() {
      if (!opened) return;
      const { outbox, lock } = opened;
      opened = null;
      const { disposable } = outbox;
      outbox.close();
      if (disposable) rmSync(own, { recursive: true, force: true });
      lock.release();
    },
  };
}
