/**
 * Owns the settings: the document in the store, the file beside it, and what was refused last. A leader writes, and a manager whose file was edited.
 * Every document that is accepted gets the next revision, and its place in the history in the same turn, or with the leader's next reconcile
 * after a crash.
 *
 * The order of a write by the API is what makes a crash harmless: first the store, still with the hash of the old file;
 * then the file; then its new hash. After a crash in between, the file is either untouched (the store wins and
 * writes it again) or has the new text already (both agree).
 */
import {
  describeProblem,
  HoldfastError,
  isoTime,
  parseSettings,
  SETTINGS_DOCUMENT,
  settingsEtag,
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
import type { SettingsHistory } from './history.ts';
import type { LastSettings } from './last-settings.ts';
import { readSettingsFile, writeSettingsFile } from './settings-file.ts';
import { watchFile } from './watch-file.ts';

export interface CurrentSettings {
  settings: ClusterSettings;
  text: string;
  etag: string;
  revision: number;
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
  /**
   * Makes an earlier revision, by default the one before, the newest one again.
   * @throws HoldfastError HF_NOT_FOUND when there is no such revision; HF_SETTINGS_INVALID when it cannot hold in the cluster as it is now;
   * HF_SETTINGS_CONFLICT
   */
  undo(to: number | null, ifMatch: string | null, updatedBy: string): Promise<CurrentSettings>;
  readonly history: Pick<SettingsHistory, 'list' | 'revision'>;
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
  history: SettingsHistory;
  /** For a store that forgets. */
  last: LastSettings;
  onChange: () => void;
}): SettingsKeeper {
  const { documents, system, log, file, history } = options;
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
    // A repaired file counts when it holds, not before: nobody shall see the old settings without the error.
    else if (decision.use !== 'file') clearError();
    if (decision.use === 'store') adopt(stored!);
    if (options.mayWrite()) {
      if (stored) await record(stored);
      else if (await restore(facts)) {
        if (decision.use === 'file') clearError();
        return;
      }
    }
    if (facts.kind !== 'present') return;
    if (decision.use === 'file') {
      // An edit is its user's word, whoever leads. Of files that merely differ the leader's holds.
      if (!options.mayWrite() && facts.sha256 === settledFile) return clearError();
      const { text, sha256 } = facts;
      const next = await nextRevision({ text, updatedBy: 'file', fileSha256: sha256 }, stored);
      if (!(await store(next, document))) {
        failed = true; // somebody else was first: looked at again soon
        return;
      }
      clearError();
    } else if (decision.use === 'store' && 'writeFile' in decision) {
      if (decision.writeFile) await writeBack(stored!, document);
      else if (decision.noteFile) await store({ ...stored!, fileSha256: facts.sha256 }, document);
    } else return;
    settledFile = decision.use === 'file' ? facts.sha256 : sha256Of(stored!.text);
  }

  /**
   * A store that forgot gets back what held: others, like a router that starts, have it from there only. Unless a file that is valid says
   * something else. Resolves to whether it did.
   */
  async function restore(facts: FileFacts): Promise<boolean> {
    const remembered = current ?? (await options.last.read());
    if (!remembered) return false;
    const { text, updatedAt, updatedBy, revision = 1 } = remembered;
    const isFile = facts.kind === 'present' && facts.text === text;
    if (facts.kind === 'present' && facts.problem === null && !isFile) return false;
    try {
      check(text);
    } catch (cause) {
      // Of another cluster that ran here, perhaps.
      log.warn({ error: String(cause) }, 'the store is empty, and the last settings do not fit');
      return false;
    }
    const fileSha256 = isFile ? facts.sha256 : null;
    if (await store({ text, updatedAt, updatedBy, revision, fileSha256 }, null))
      log.warn({ etag: settingsEtag(text) }, 'the store had no settings; it got the last good ones back');
    return true;
  }

  /** What is accepted now, under a number that no other document has had. */
  async function nextRevision(
    accepted: Pick<StoredSettings, 'text' | 'updatedBy' | 'fileSha256'>,
    stored: StoredSettings | null,
  ): Promise<StoredSettings> {
    const revision = Math.max(stored ? revisionOf(stored) : 0, await history.last()) + 1;
    return { ...accepted, updatedAt: isoTime(system.clock), revision };
  }

  /** The settings hold whether their history can be written now or later. */
  async function record(stored: StoredSettings): Promise<void> {
    try {
      const { text, updatedAt, updatedBy } = stored;
      await history.record({ revision: revisionOf(stored), text, updatedAt, updatedBy });
    } catch (cause) {
      failed = true;
      log.warn(
        { error: String(cause) },
        'the history of the settings could not be written; it is tried again soon',
      );
    }
  }

  async function undo(
    to: number | null,
    ifMatch: string | null,
    updatedBy: string,
  ): Promise<CurrentSettings> {
    await reconcile();
    const present = current?.revision ?? 0;
    const before = (await history.list()).findLast(one => one.revision < present);
    const target = to ?? before?.revision;
    if (target === undefined)
      throw new HoldfastError('HF_NOT_FOUND', `there is no revision of the settings before ${present}`);
    const { text } = await history.revision(target);
    try {
      return await put(text, ifMatch, updatedBy);
    } catch (cause) {
      if (!(cause instanceof HoldfastError) || cause.code !== 'HF_SETTINGS_INVALID') throw cause;
      throw new HoldfastError(
        'HF_SETTINGS_INVALID',
        `revision ${target} of the settings cannot hold in the cluster as it is now: ${cause.message}`,
        { details: cause.details, cause },
      );
    }
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
    if (stored?.text === text && current?.text === text) {
      // Asked for again, or to replace a file that was refused. Nothing new was accepted.
      clearError();
      if (file !== null) await writeBack(stored, document);
      return current;
    }
    const next = await nextRevision({ text, updatedBy, fileSha256: stored?.fileSha256 ?? null }, stored);
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
    await record(next);
    return { content, etag: outcome.etag };
  }

  async function writeBack(stored: StoredSettings, document: StoredDocument | null): Promise<void> {
    try {
      await writeSettingsFile(file!, stored.text);
    } catch (cause) {
      fileWarning = `the settings file ${file} cannot be written: ${(cause as Error).message}`;
      log.warn({ error: String(cause) }, 'the settings file cannot be written');
      return;
    }
    await store({ ...stored, fileSha256: sha256Of(stored.text) }, document);
  }

  function adopt(stored: StoredSettings): void {
    const revision = revisionOf(stored);
    if (current?.text === stored.text && current.revision === revision) return;
    try {
      const { settings, warnings } = parseSettings(stored.text);
      const { text, updatedAt, updatedBy } = stored;
      current = { settings, warnings, text, updatedAt, updatedBy, revision, etag: settingsEtag(text) };
      options.last.note(current);
      history.note(current);
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
    const found = await readSettingsFile(file);
    if (found.kind === 'missing') return { kind: 'missing' };
    if (found.kind === 'unreadable') return { kind: 'present', text: '', sha256: '', problem: found.problem };
    const { text } = found;
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
    undo: (to, ifMatch, updatedBy) => inTurn(() => undo(to, ifMatch, updatedBy)),
    history,
    async stop() {
      stopFile();
      stopStore();
      await Promise.all([options.last.kept(), history.kept()]);
    },
  };
}

function readStored(document: StoredDocument): StoredSettings {
  return JSON.parse(document.content) as StoredSettings;
}

function revisionOf({ revision }: Pick<StoredSettings, 'revision'>): number {
  return revision ?? 1;
}

/** If-Match may list several tags; a weak one never matches. */
function matches(ifMatch: string, etag: string | null): boolean {
  return ifMatch.split(',').some(tag => tag.trim() === etag);
}
