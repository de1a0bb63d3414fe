/** An event or effect in one line. */
export function describe(happening: { readonly type: string }): string {
  const { type, ...facts } = happening;
  return [type, ...Object.entries(facts).map(([name, value]) => `${name}=${text(value)}`)].join(' ');
}

function text(value: unknown): string {
  if (typeof value === 'number') return String(Math.round(value * 10) / 10);
  if (typeof value === 'string') return value;
  return (
    JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? String(part) : part)) ?? '-'
  );
}
