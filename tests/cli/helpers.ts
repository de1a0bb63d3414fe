/** What the tests of the command line share: folders that vanish, and commands as real processes. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const projectRoot = join(import.meta.dirname, '../..');

export interface Folder extends Disposable {
  path: string;
  /** Writes files by relative name. */
  write(files: Record<string, string>): void;
}

/** A temporary folder; `using` removes it. */
export function makeFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  return {
    path,
    write(files) {
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        writeFileSync(join(path, name), content);
      }
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }),
  };
}

/** A manifest with what a test does not care about filled in. */
export function manifestOf(fields: Record<string, unknown> = {}): string {
  return JSON.stringify({
    packageName: 'sample',
    packageVersion: '1.0.0',
    kind: 'component',
    main: 'index.js',
    ...fields,
  });
}

export interface Outcome {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves when the output contains the text; rejects when the process ends before. */
  prints(text: string): Promise<void>;
  /** Resolves when it has ended and its output is complete. */
  ended: Promise<Outcome>;
}

/** Starts a program and gathers what it prints. */
export function start(file: string, words: string[], options: SpawnOptions = {}): Running {
  const child = spawn(file, words, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  const listeners = new Set<() => void>();
  child.stdout!.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    for (const listener of listeners) listener();
  });
  child.stderr!.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    for (const listener of listeners) listener();
  });
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    stdout,
    stderr,
  }));
  return {
    child,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    prints: text =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!(stdout + stderr).includes(text)) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
        void ended.then(outcome => reject(new Error(`ended without "${text}": ${JSON.stringify(outcome)}`)));
      }),
  };
}

/** Runs `cli/main.ts` to its end, without the wrapper around it. */
export function holdfast(words: string[], options: SpawnOptions = {}): Promise<Outcome> {
  return start(process.execPath, [join(projectRoot, 'cli/main.ts'), ...words], options).ended;
}
