/**
 * Which values must not appear in messages, told by their names. Better one too many than one too few: a hidden value
 * costs its reader a look into the file.
 */

const secret =
  /pass(?:word|wd|phrase)?$|secret|token|credential|authorization|cookie|private|(?:api|access|signing|encryption)[-_]?key|dsn$|connection[-_]?string/i;

export function isSecretName(name: string): boolean {
  return secret.test(name);
}

/** A copy of a JSON value in which what stands under a secret name, and passwords in URLs, are replaced. */
export function withoutSecrets(value: unknown): unknown {
  if (value === undefined) return undefined;
  return JSON.parse(
    JSON.stringify(value, (name, inner: unknown) => {
      if (isSecretName(name)) return '[redacted]';
      return typeof inner === 'string'
        ? inner.replaceAll(/(\w+:\/\/[^\s:/?#@]*):[^\s/?#@]+@/g, '$1:[redacted]@')
        : inner;
    }),
  ) as unknown;
}
