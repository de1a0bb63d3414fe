/**
 * Who may call an API. The cluster secret (in `.holdfast/token`) is the admin token; narrower tokens are derived from
 * it and carry their scope, so that every API can check them without asking anybody:
 * `hf1.<scope>.<expiry, unix seconds, or 0>.<HMAC-SHA-256 of what stands before, base64url>`.
 * They end with their expiry, or all at once when the cluster secret is changed.
 */
import { createHmac, createHash, timingSafeEqual } from 'node:crypto';

/** Each scope includes the ones before it. */
export const SCOPES = ['read', 'deploy', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** @param expiresAtSeconds unix time; 0 for a token that does not end by itself */
export function issueToken(secret: string, scope: Scope, expiresAtSeconds: number): string {
  const claims = `hf1.${scope}.${expiresAtSeconds}`;
  return `${claims}.${sign(secret, claims)}`;
}

/** The scope that a token gives, or null if it is not valid (any more). Takes the same time for every wrong token. */
export function scopeOf(token: string, secret: string, nowMs: number): Scope | null {
  if (equal(token, secret)) return 'admin';
  const [prefix, scope, expiry, signature, ...rest] = token.split('.');
  const claims = `${prefix}.${scope}.${expiry}`;
  if (!equal(signature ?? '', sign(secret, claims)) || prefix !== 'hf1' || rest.length > 0) return null;
  if (expiry !== '0' && !(Number(expiry) * 1000 > nowMs)) return null; // also when it is no number
  return SCOPES.find(known => known === scope) ?? null;
}

export function allows(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed);
}

function sign(secret: string, claims: string): string {
  return createHmac('sha256', secret).update(claims).digest('base64url');
}

/** Compares hashes, so that neither content nor length shows in the time. */
function equal(left: string, right: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(left), hash(right));
}
