/**
 * Owns the settings: the document in the store, the file beside it, and what was refused last. A leader writes, and a manager whose file was edited.
 *
 * The order of a write by the API is what makes a crash harmless: first the store, still with the hash of the old file;
 * then the file; then its new hash. After a crash in between, the file is either untouched (the store wins and
 * writes it again) or has the new text already (both agree).
 */
import { readFile, realpath, stat } from 'node:fs/promises';
import {
  describeProblem,
  HoldfastError,
  isoTime,
  parseSettings,
  SETTINGS_DOCUMENT,
  settingsEtag,
  writeFileDurably,
  type ClusterSettings,
  type DocumentStore,
  type Logger,
  type MasterStatus,
  type ParsedSettings,
  type Problem,
  type StoredDocument,
  type StoredSettings,
  type System,
} from '#core';
import { decideSettings, sha256Of, type FileFacts } from './decision.ts';
import type { LastSettings } from './last-settings.ts';
import { watchFile } from './watch-file.ts';

export interface CurrentSettings {
  settings: ClusterSettings;
  text: string;
  etag: string;
  updatedAt: string;
  updatedBy: string;
  warnings: string[];
}

export interface SettingsKeeper {
  current(): CurrentSettings | null;
  error(): MasterStatus['settingsError'];
  warnings(): string[];
  /** Whether another `reconcile` may change something though neither file nor store did: a document was refused, or a look failed. */
  unsettled(): boolean;
  /** Reads store and file and settles which one holds. */
  reconcile(): Promise<void>;
  /**
   * Replaces the document.
   * @param ifMatch ETag that must be the current one; null or `*` for any
   * @throws HoldfastError HF_SETTINGS_INVALID, HF_SETTINGS_CONFLICT
   */
  put(text: string, ifMatch: string | null, updatedBy: string): Promise<CurrentSettings>;
  stop(): Promise<void>;
}

export function createSettingsKeeper(options: {
  documents: DocumentStore;
  system: System;
  log: Logger;
  file: string | null;
  /** Names of packages that instances may use besides `componentPackages`; null while that is not known. */
  knownPackages: () => ReadonlySet<string> | null;
  /** What is wrong in the eyes of what runs: the packages that the instances use, the store that the cluster is bound to. */
  problemsInUse: (settings: ClusterSettings) => Problem[];
  mayWrite: () => boolean;
  /** For a store that forgets. */
  last: LastSettings;
  onChange: () => void;
}): SettingsKeeper {
  const { documents, system, log, file } = options;
  let current: CurrentSettings | null = null;
  let error: MasterStatus['settingsError'] = null;
  let fileWarning: string | null = null;
  let failed = false;
  /** Hash of the file as it was when it last was settled what holds. */
  let settledFile: string | null = null;
  let turn: Promise<unknown> = Promise.resolve();

  const stopFile = file === null ? () => {} : watchFile(file, system, () => void settle());
  const stopStore = documents.watch(SETTINGS_DOCUMENT, document => {
    adopt(readStored(document));
    // What another manager has changed is written into the file here.
    if (file !== null && !options.mayWrite()) void settle();
  });

  /** One at a time: two reconciliations, or one and a put, would read each other's half. */
  function inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = turn.then(task);
    turn = result.catch(() => {}); // the caller hears of it; the next one goes on
    return result;
  }

  /** @throws HoldfastError HF_SETTINGS_INVALID */
  function check(text: string): ParsedSettings {
    const parsed = parseSettings(text, options.knownPackages());
    const problems = options.problemsInUse(parsed.settings);
    if (problems.length === 0) return parsed;
    throw new HoldfastError(
      'HF_SETTINGS_INVALID',
      `The settings are not valid: ${problems.map(describeProblem).join('; ')}`,
      { details: { problems } },
    );
  }

  async function settle(): Promise<void> {
    try {
      await inTurn(reconcile);
    } catch (cause) {
      failed = true;
      log.warn(
        { error: String(cause) },
        'the settings could not be reconciled; they are looked at again soon',
      );
    }
  }

  async function reconcile(): Promise<void> {
    const document = await documents.get(SETTINGS_DOCUMENT);
    const stored = document && readStored(document);
    const facts = await readFacts(stored);
    const decision = decideSettings(facts, stored);
    failed = false;
    fileWarning =
      facts.kind === 'missing' ? `the settings file ${file} is missing; the last good settings hold` : null;
    if ('refused' in decision && decision.refused) refuse(decision.refused);
    else clearError();
    if (decision.use === 'store') adopt(stored!);
    if (decision.use === 'nothing' && document === null && options.mayWrite()) await restore();
    if (facts.kind !== 'present') return;
    if (decision.use === 'file') {
      // An edit is its user's word, whoever leads. Of files that merely differ the leader's holds.
      if (!options.mayWrite() && facts.sha256 === settledFile) return;
      const next = {
        text: facts.text,
        updatedAt: isoTime(system.clock),
        updatedBy: 'file',
        fileSha256: facts.sha256,
      };
      if (!(await store(next, document))) {
        failed = true; // somebody else was first: looked at again soon
        return;
      }
    } else if (decision.use === 'store' && 'writeFile' in decision) {
      if (decision.writeFile) await writeBack(stored!, document);
      else if (decision.noteFile) await store({ ...stored!, fileSha256: facts.sha256 }, document);
    } else return;
    settledFile = decision.use === 'file' ? facts.sha256 : sha256Of(stored!.text);
  }

  /** A store that forgot gets back what held: others, like a router that starts, have it from there only. */
  async function restore(): Promise<void> {
    const remembered = current ?? (await options.last.read());
    if (!remembered) return;
    const { text, updatedAt, updatedBy } = remembered;
    try {
      check(text);
    } catch (cause) {
      // Of another cluster that ran here, perhaps.
      return log.warn({ error: String(cause) }, 'the store is empty, and the last settings do not fit');
    }
    if (await store({ text, updatedAt, updatedBy, fileSha256: null }, null))
      log.warn({ etag: settingsEtag(text) }, 'the store had no settings; it got the last good ones back');
  }

  async function put(text: string, ifMatch: string | null, updatedBy: string): Promise<CurrentSettings> {
    const parsed = check(text);
    await reconcile(); // an edit of the file that was not seen yet is older than this one
    const document = await documents.get(SETTINGS_DOCUMENT);
    const stored = document && readStored(document);
    const etag = stored && settingsEtag(stored.text);
    if (ifMatch !== null && ifMatch !== '*' && !matches(ifMatch, etag)) {
      throw new HoldfastError(
        'HF_SETTINGS_CONFLICT',
        'the settings changed; read them again and repeat the edit',
        {
          details: { etag },
        },
      );
    }
    const next: StoredSettings = {
      text,
      updatedAt: isoTime(system.clock),
      updatedBy,
      fileSha256: stored?.fileSha256 ?? null,
    };
    const written = await store(next, document);
    if (!written) {
      throw new HoldfastError(
        'HF_SETTINGS_CONFLICT',
        'the settings were changed at the same moment; read them again',
      );
    }
    clearError();
    if (file !== null) await writeBack(next, written);
    log.info({ etag: settingsEtag(text), warnings: parsed.warnings.length }, 'settings replaced');
    return current!;
  }

  /** Compare-and-set; resolves to what is stored now, null if somebody else was first. */
  async function store(
    next: StoredSettings,
    previous: StoredDocument | null,
  ): Promise<StoredDocument | null> {
    const content = JSON.stringify(next);
    const outcome = await documents.put(SETTINGS_DOCUMENT, content, previous?.etag ?? null);
    if (!outcome.written) return null;
    adopt(next);
    return { content, etag: outcome.etag };
  }

  async function writeBack(stored: StoredSettings, document: StoredDocument | null): Promise<void> {
    try {
      // Through a link and with the mode that its user gave it.
      const target = await realpath(file!).catch(() => file!);
      const mode = await stat(target).then(
        found => found.mode & 0o777,
        () => 0o644,
      );
      await writeFileDurably(target, stored.text, mode);
    } catch (cause) {
      fileWarning = `the settings file ${file} cannot be written: ${(cause as Error).message}`;
      log.warn({ error: String(cause) }, 'the settings file cannot be written');
      return;
    }
    await store({ ...stored, fileSha256: sha256Of(stored.text) }, document);
  }

  function adopt(stored: StoredSettings): void {
    if (current?.text === stored.text) return;
    try {
      const { settings, warnings } = parseSettings(stored.text);
      const { text, updatedAt, updatedBy } = stored;
      current = { settings, warnings, text, updatedAt, updatedBy, etag: settingsEtag(text) };
      options.last.note(current);
    } catch (cause) {
      // It was valid when stored; an older or newer manager may think otherwise. What runs goes on.
      return refuse(cause as HoldfastError, 'store');
    }
    options.onChange();
  }

  function refuse(cause: HoldfastError, source = 'file'): void {
    if (error?.message === cause.message) return;
    const problems = Array.isArray(cause.details?.problems) ? (cause.details.problems as unknown[]) : [];
    error = { at: isoTime(system.clock), source, message: cause.message, problems };
    log.warn({ source, problems }, 'settings refused; the last good ones hold');
    options.onChange();
  }

  function clearError(): void {
    if (error === null) return;
    error = null;
    options.onChange();
  }

  async function readFacts(stored: StoredSettings | null): Promise<FileFacts> {
    if (file === null) return { kind: 'none' };
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' };
      const problem = new HoldfastError(
        'HF_SETTINGS_INVALID',
        `cannot read ${file}: ${(cause as Error).message}`,
      );
      return { kind: 'present', text: '', sha256: '', problem };
    }
    return {
      kind: 'present',
      text,
      sha256: sha256Of(text),
      problem: text === stored?.text ? null : problemOf(text),
    };
  }

  function problemOf(text: string): HoldfastError | null {
    try {
      check(text);
      return null;
    } catch (cause) {
      if (cause instanceof HoldfastError) return cause;
      throw cause;
    }
  }

  return {
    current: () => current,
    error: () => error,
    warnings: () => [...(current?.warnings ?? []), ...(fileWarning === null ? [] : [fileWarning])],
    unsettled: () => failed || error !== null,
    reconcile: () => inTurn(reconcile),
    put: (text, ifMatch, updatedBy) => inTurn(() => put(text, ifMatch, updatedBy)),
    async stop() {
      stopFile();
      stopStore();
      await options.last.kept();
    },
  };
}

function readStored(document: StoredDocument): StoredSettings {
  return JSON.parse(document.content) as StoredSettings;
}

/** If-Match may list several tags; a weak one never matches. */
function matches(ifMatch: string, etag: string | null): boolean {
  return ifMatch.split(',').some(tag => tag.trim() === etag);
}
