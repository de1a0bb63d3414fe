/**
 * Secrets by reference: `{"secretRef": "name"}` anywhere in settings or env stands for the content of
 * `<stateRoot>/secrets/<name>`. They are read when a host is configured, live in memory for that long, and are taken
 * out of every error that the configuring brings forth.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeProblem, HoldfastError, IDENTIFIER_FORM, jsonPath, type Problem } from '#core';

export interface SecretReader {
  /** A copy in which every reference is replaced. @throws HoldfastError HF_SETTINGS_INVALID naming path and file */
  resolve<Value>(value: Value, at: readonly (string | number)[]): Promise<Value>;
  /** The error without any secret that was read. */
  redact(error: unknown): HoldfastError;
}

const namePattern = new RegExp(IDENTIFIER_FORM.pattern);
const hidden = '[secret]';

export function createSecretReader(stateRoot: string): SecretReader {
  const read = new Set<string>();

  async function resolve(value: unknown, at: readonly (string | number)[]): Promise<unknown> {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return Promise.all(value.map((item, index) => resolve(item, [...at, index])));
    const fields = Object.entries(value);
    if (fields.length === 1 && fields[0]![0] === 'secretRef') return secret(fields[0]![1], at);
    const resolved = fields.map(async ([name, item]) => [name, await resolve(item, [...at, name])] as const);
    return Object.fromEntries(await Promise.all(resolved));
  }

  async function secret(name: unknown, at: readonly (string | number)[]): Promise<string> {
    if (typeof name !== 'string' || !namePattern.test(name)) {
      throw invalid(at, name, 'the name of a file in the folder secrets/ (letters, digits, . _ -)');
    }
    const path = join(stateRoot, 'secrets', name);
    try {
      const text = (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
      if (text !== '') read.add(text);
      return text;
    } catch (error) {
      const problem = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw invalid(at, name, `a secret in the file ${path} (${problem})`);
    }
  }

  return {
    resolve: async <Value>(value: Value, at: readonly (string | number)[]) =>
      (await resolve(value, at)) as Value,
    redact(error) {
      const known =
        error instanceof HoldfastError
          ? error
          : new HoldfastError('HF_INTERNAL', error instanceof Error ? error.message : String(error));
      if (read.size === 0) return known;
      const shown = known.code === 'HF_SETTINGS_INVALID' ? withoutValues(known) : known;
      return new HoldfastError(shown.code, hide(shown.message), {
        details: hideDeep(shown.details) as Record<string, unknown>,
      });
    },
  };

  function hide(text: string): string {
    // Longest first, so that a secret within a secret does not leave its rest behind; also as it stands within JSON.
    const secrets = [...read].flatMap(item => [item, JSON.stringify(item).slice(1, -1)]);
    return secrets
      .sort((a, b) => b.length - a.length)
      .reduce((result, item) => result.replaceAll(item, hidden), text);
  }

  function hideDeep(value: unknown): unknown {
    if (typeof value === 'string') return hide(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(hideDeep);
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hideDeep(item)]));
  }
}

/** Values in problems are shortened, and a part of a secret is not found by its text: they are left out altogether. */
function withoutValues(error: HoldfastError): HoldfastError {
  const { problems, ...details } = error.details;
  if (!Array.isArray(problems)) return error;
  const bare = (problems as Problem[]).map(({ path, expected }) => ({ path, expected }));
  return new HoldfastError(error.code, `the settings have errors: ${bare.map(describeProblem).join('; ')}`, {
    details: { ...details, problems: bare },
  });
}

function invalid(at: readonly (string | number)[], value: unknown, expected: string): HoldfastError {
  const path = jsonPath(at);
  return new HoldfastError(
    'HF_SETTINGS_INVALID',
    `${path}.secretRef ${JSON.stringify(value)}: expected ${expected}`,
    {
      details: { problems: [{ path: `${path}.secretRef`, value, expected }] },
    },
  );
}
