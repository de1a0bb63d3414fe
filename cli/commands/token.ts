/** `holdfast token` and `holdfast token create`: tokens for the APIs, made from the cluster secret. */
import { HoldfastError } from '#core';
import { issueToken, type Scope } from '#http-api';
import { findStateRoot, readToken, tokenPathOf, type ConnectOptions } from '../cluster-location.ts';
import { parseDurationMs } from '../duration.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

type TokenOptions = Pick<ConnectOptions, 'tokenFile'>;

export async function printToken(options: TokenOptions, { cwd, stdout }: Environment): Promise<void> {
  stdout.write(`${await readSecret(options, cwd)}\n`);
}

export async function createToken(
  options: TokenOptions & { scope: Scope; expires: string; json?: boolean },
  { cwd, stdout, system }: Environment,
): Promise<void> {
  const lifetimeSeconds = parseLifetime(options.expires);
  const secret = await readSecret(options, cwd);
  const expiresAtSeconds =
    lifetimeSeconds === null ? 0 : Math.floor(system.clock.wallMs() / 1000) + lifetimeSeconds;
  const token = issueToken(secret, options.scope, expiresAtSeconds);
  const expiresAt = expiresAtSeconds === 0 ? null : new Date(expiresAtSeconds * 1000).toISOString();
  stdout.write(options.json ? jsonLine({ token, scope: options.scope, expiresAt }) : `${token}\n`);
}

/** Seconds; null for no end. @throws HoldfastError HF_USAGE */
export function parseLifetime(text: string): number | null {
  if (text === 'never') return null;
  return Math.ceil(parseDurationMs('--expires', text, ', or never') / 1_000);
}

async function readSecret(options: TokenOptions, cwd: string): Promise<string> {
  const stateRoot = options.tokenFile ? null : await findStateRoot(cwd);
  const path = tokenPathOf(stateRoot, options);
  const secret = await readToken(path);
  if (secret.includes('.')) {
    throw new HoldfastError(
      'HF_USAGE',
      `${path} holds a derived token; tokens are made from the cluster secret`,
    );
  }
  return secret;
}
