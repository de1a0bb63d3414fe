/**
 * Which values must not appear in messages, logs and answers, told by the names of their keys: values that came from a
 * `secretRef` arrive as plain text too, and are hidden only if the key they stand under tells what they are. Better one
 * too many than one too few: a hidden value costs its reader a look into the file. Pure.
 */

const secret =
  /pass(?:word|wd|phrase)?$|secret|token|credential|authorization|cookie|private|(?:api|access|signing|encryption)[-_]?key|dsn$|connection[-_]?string/i;
/** `signingKey`, `signing_key`: a key to something, unlike the keys of resources and tables. */
const keyName = /[a-z0-9]Key$|[-_]key$/;
const harmlessKeyName = /^(?:resource|primary|public|partition|sort|foreign)[-_]?key$/i;
/** Deeper than anybody reads; also the end of what refers to itself. */
const depthMax = 16;

export const REDACTED = '[redacted]';

/** Whether a value under this name is to be hidden. */
export function isSecretName(name: string): boolean {
  return secret.test(name) || (keyName.test(name) && !harmlessKeyName.test(name));
}

/** The settings of a package, for answers. There, unlike in logs, a bare `key` is no resource's. */
export function redactSettings(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return walk(settings, name => isSecretName(name) || name === 'key', 0) as Record<string, unknown>;
}

/**
 * A copy of plain objects and arrays with secrets replaced, and passwords in URLs too. Other objects (errors,
 * requests) pass unchanged: loggers have serializers for them. What lies too deep to look into is replaced as a whole.
 */
export function redact(value: unknown): unknown {
  return walk(value, isSecretName, 0);
}

function walk(value: unknown, isSecret: (name: string) => boolean, depth: number): unknown {
  if (typeof value === 'string') return redactUrls(value);
  if (typeof value !== 'object' || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = Array.isArray(value) || prototype === Object.prototype || prototype === null;
  if (!plain) return value;
  if (depth >= depthMax) return REDACTED;
  if (Array.isArray(value)) return value.map(item => walk(item, isSecret, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      isSecret(name) && hides(inner) ? REDACTED : walk(inner, isSecret, depth + 1),
    ]),
  );
}

/** `passwordRequired: true` and an absent token tell nothing. */
function hides(value: unknown): boolean {
  return value !== null && value !== undefined && typeof value !== 'boolean';
}

/** `scheme://user:password@host` keeps the user only. */
function redactUrls(text: string): string {
  return text.replaceAll(/(:\/\/[^\s:/?#@]*):[^\s/?#@]+@/g, `$1:${REDACTED}@`);
}
