/** The names of keys and channel under one prefix. */
export interface LeaseKeys {
  record(name: string): string;
  readonly recordPrefix: string;
  readonly meta: string;
  readonly names: string;
  readonly changes: string;
}

export function leaseKeys(prefix: string): LeaseKeys {
  const recordPrefix = `${prefix}lease:`;
  return {
    record: name => recordPrefix + name,
    recordPrefix,
    meta: `${prefix}lease-meta`,
    names: `${prefix}lease-names`,
    changes: `${prefix}lease-changes`,
  };
}
