/** The errors of the store, each with what is wrong and how to mend it. */
import { HoldfastError } from '#core';

export function unknownDigest(sha256: string): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_NOT_FOUND',
    'no package with this digest is stored here: send the ZIP',
    {
      details: { sha256 },
    },
  );
}

export function notFound(
  name: string,
  version: string | undefined,
  stored: readonly string[],
): HoldfastError {
  const message =
    stored.length === 0
      ? `no package ${name} is stored here; upload it first`
      : `package ${name} has no version ${version}; stored: ${stored.join(', ')}`;
  return new HoldfastError('HF_PACKAGE_NOT_FOUND', message, {
    details: { packageName: name, ...(version === undefined ? {} : { packageVersion: version }), stored },
  });
}

export function conflict(name: string, version: string, why: string, facts: object): HoldfastError {
  return new HoldfastError('HF_PACKAGE_CONFLICT', `package ${name} ${version}: ${why}`, {
    details: { packageName: name, packageVersion: version, ...facts },
  });
}

export function inUse(name: string, versions: readonly string[]): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_IN_USE',
    `processes run from package ${name} ${versions.join(', ')}; stop them first`,
    { details: { packageName: name, versions } },
  );
}

export function corrupt(name: string, version: string, problem: string): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_CORRUPT',
    `package ${name} ${version} is damaged: ${problem}; upload the same archive again to mend it`,
    { details: { packageName: name, packageVersion: version, problem } },
  );
}

/** Names the folder when the file system is at fault; everything else stays as it is. */
export function diskError(error: unknown, folder: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof HoldfastError || typeof code !== 'string') return error;
  if (['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE'].includes(code)) {
    return new HoldfastError('HF_CAPACITY', `the package store ${folder} has no room: ${message}`, {
      cause: error,
    });
  }
  if (['EACCES', 'EPERM', 'EROFS', 'EIO', 'ENOTDIR'].includes(code)) {
    return new HoldfastError('HF_STATE_UNUSABLE', `the package store ${folder} cannot be used: ${message}`, {
      cause: error,
    });
  }
  return error;
}
