/** The router's own settings, as `configurationSchema` in manifest.json checks them; the cluster's come by `routing.ts`. */
import { DEFAULTS, type Settings } from '#core';

export interface RouterSettings {
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Several routers of one machine share the port. */
  reusePort: boolean;
  trustForwardedHeaders: boolean;
  /** Requests inside the router at once. */
  maxRequests: number;
  /** WebSockets at once. */
  maxWebSockets: number;
  /** Requests that wait for an owner at once. */
  maxHeldRequests: number;
  /** Bytes of request bodies kept to be sent again, over all requests. */
  maxHeldBytes: number;
  /** The same for one request. */
  replayBytes: number;
  /** Keys whose owner is remembered. */
  maxKnownKeys: number;
  /** 0: no bound. */
  maxBodyBytes: number;
  /** From the request sent to the first byte of the response. */
  ownerTimeoutMs: number;
}

const defaults: RouterSettings = {
  host: '127.0.0.1',
  port: DEFAULTS.routerPort,
  reusePort: false,
  trustForwardedHeaders: false,
  maxRequests: 4_096,
  maxWebSockets: 20_000,
  maxHeldRequests: 1_024,
  maxHeldBytes: 64 * 1024 * 1024,
  replayBytes: 1024 * 1024,
  maxKnownKeys: 1_000_000,
  maxBodyBytes: 1024 * 1024 * 1024,
  ownerTimeoutMs: 60_000,
};

/** Fills in what is missing. The host has checked the values against the manifest's schema already. */
export function routerSettings(settings: Settings | Partial<RouterSettings>): RouterSettings {
  return { ...defaults, ...settings };
}
