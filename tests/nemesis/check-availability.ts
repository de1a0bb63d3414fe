/**
 * What may fail, and for how long. A failure is excused only by a fault that was there, of a kind that may have it; and when the breaking is over
 * every key is served again within a bound (I7). Pure.
 */
import { at, byKey, type FaultSpan, type History, type Operation, type Violation } from './history.ts';

export function checkFailures({ operations, faults }: History): Violation[] {
  return operations.flatMap(operation => {
    const message = judge(operation, faults);
    return message === null ? [] : [{ invariant: 'availability' as const, key: operation.key, message }];
  });
}

/** Why this failure is one that must not be, or null. */
function judge(operation: Operation, faults: readonly FaultSpan[]): string | null {
  const { failure, kind, router } = operation;
  if (failure === null) return null;
  const present = faults.filter(
    fault => fault.startMs <= operation.endMs && operation.startMs <= fault.endMs,
  );
  if (present.some(fault => fault.mayFail === 'all')) return null;
  if (failure.status === null && present.some(fault => fault.routers.includes(router))) return null;
  const unsafe = present.some(fault => fault.mayFail === 'unsafe');
  if (kind === 'append' && unsafe && failure.code === 'HF_OUTCOME_UNKNOWN') return null;
  const names = present.map(fault => fault.name).join(', ') || 'no fault';
  const answer =
    failure.status === null ? failure.message : `${failure.status} ${failure.code ?? ''} ${failure.message}`;
  return `${kind} through ${router} failed ${at(operation)} during ${names}: ${answer}`;
}

/** I7. Clients must have asked for each key after each fault. */
export function checkServedAgain(
  { operations, faults }: History,
  { keys, boundMs }: { keys: readonly string[]; boundMs: number },
): Violation[] {
  const found = byKey(operations.filter(operation => operation.outcome === 'ok'));
  return keys.flatMap(key =>
    faults.flatMap(({ name, overMs }) => {
      if (overMs === Infinity) return []; // it is still being broken: the round did not come to its end
      const served = (found.get(key) ?? []).filter(operation => operation.startMs >= overMs);
      const afterMs = served.reduce((least, { endMs }) => Math.min(least, endMs), Infinity) - overMs;
      if (afterMs <= boundMs) return [];
      const said = afterMs === Infinity ? 'never' : `only ${afterMs.toFixed(0)} ms later`;
      const message = `after "${name}" it was served again ${said} (bound: ${boundMs} ms)`;
      return [{ invariant: 'I7 served again' as const, key, message }];
    }),
  );
}

/**
 * The longest time for which a key was not served while a fault of this name was there: from sending a request for it until the first good answer to it
 * or to a later one. By name, milliseconds.
 */
export function longestUnavailability({ operations, faults }: History): Map<string, number> {
  const longest = new Map<string, number>();
  for (const list of byKey(operations).values()) {
    let goodMs = Infinity;
    for (const operation of [...list].sort((a, b) => b.startMs - a.startMs)) {
      if (operation.outcome === 'ok') goodMs = Math.min(goodMs, operation.endMs);
      for (const { name, startMs, endMs } of faults) {
        if (operation.startMs < startMs || operation.startMs > endMs || goodMs === Infinity) continue;
        longest.set(name, Math.max(longest.get(name) ?? 0, goodMs - operation.startMs));
      }
    }
  }
  return longest;
}
