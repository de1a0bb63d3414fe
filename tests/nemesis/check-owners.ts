/**
 * I1, I3 and I5: who committed, who answered, and under which fences. Pure.
 *
 * Two clocks speak of answers. Clients know that one answer had arrived before another was asked for; then its fence must not be the
 * higher one. Owners name an instant in which they held the right, by their own belief, on a clock that all processes
 * share; then all instants under one fence must lie before all under the next, and before the next owner's opening.
 */
import {
  at,
  eachAfter,
  type Answer,
  type Content,
  type Invariant,
  type Operation,
  type Violation,
} from './history.ts';

export function checkOwners(
  key: string,
  { entries, openings }: Content,
  operations: readonly Operation[],
): Violation[] {
  const violations: Violation[] = [];
  const report = (invariant: Invariant, message: string) => void violations.push({ invariant, key, message });
  const owners = new Map<bigint, string>();
  const claim = (fence: bigint, owner: string) => {
    const known = owners.get(fence);
    if (known === undefined) owners.set(fence, owner);
    else if (known !== owner)
      report('I1 commits in fence order', `fence ${fence} was used by ${known} and by ${owner}`);
  };

  let newest = 0n;
  for (const [index, { element, fence, owner }] of entries.entries()) {
    if (fence === null || owner === null) continue;
    claim(fence, owner);
    if (fence < newest) {
      const place = `${element} (position ${index + 1})`;
      report('I1 commits in fence order', `${place} was committed under ${fence} after ${newest}`);
    } else newest = fence;
  }

  newest = 0n;
  for (const { fence, owner } of openings ?? []) {
    claim(fence, owner);
    if (fence <= newest)
      report('I5 fences increase', `${owner} opened it under ${fence} after ${newest} had been installed`);
    else newest = fence;
  }

  const answered = operations.flatMap(operation =>
    operation.answer && operation.outcome === 'ok' ? [{ ...operation, answer: operation.answer }] : [],
  );
  const installed = openings && new Set(openings.map(opening => opening.fence));
  const served = new Set<string>();
  for (const { answer, ...operation } of answered) {
    claim(answer.fence, answer.owner);
    if (installed && !installed.has(answer.fence)) {
      report('I5 fences increase', `answered ${at(operation)} under ${answer.fence}, which nobody installed`);
    }
    const entry = operation.position === null ? undefined : entries[operation.position - 1];
    if (entry && entry.fence !== null && entry.fence !== answer.fence) {
      const { element } = operation;
      report(
        'I1 commits in fence order',
        `${element} is there under ${entry.fence}, acknowledged under ${answer.fence}`,
      );
    }
    if (answer.served === null) continue;
    const turn = `${answer.fence} ${answer.served}`;
    if (served.has(turn))
      report('I3 one answerer', `fence ${answer.fence} served its request ${answer.served} twice`);
    served.add(turn);
  }
  eachAfter(
    answered,
    one => one.answer.fence,
    (one, before) => {
      if (before.answer.fence <= one.answer.fence) return;
      report(
        'I5 fences increase',
        `${one.answer.owner} answered ${at(one)} under ${one.answer.fence} after ${before.answer.fence} had answered ${at(before)}`,
      );
    },
  );
  violations.push(...checkInstants(key, answered, openings ?? []));
  return violations;
}

interface Reign {
  fence: bigint;
  owner: string;
  firstMs: number;
  lastMs: number;
}

/** Believed ownership: from the opening or the first answer to the last answer. */
function checkInstants(
  key: string,
  answered: readonly { answer: Answer }[],
  openings: readonly { fence: bigint; owner: string; atMs: number }[],
): Violation[] {
  const reigns = new Map<bigint, Reign>();
  const extend = (fence: bigint, owner: string, atMs: number) => {
    const reign = reigns.get(fence) ?? { fence, owner, firstMs: atMs, lastMs: atMs };
    reign.firstMs = Math.min(reign.firstMs, atMs);
    reign.lastMs = Math.max(reign.lastMs, atMs);
    reigns.set(fence, reign);
  };
  for (const { fence, owner, atMs } of openings) extend(fence, owner, atMs);
  for (const { answer } of answered)
    if (answer.atMs !== null) extend(answer.fence, answer.owner, answer.atMs);
  const violations: Violation[] = [];
  let latest: Reign | null = null;
  for (const reign of [...reigns.values()].sort((a, b) => (a.fence < b.fence ? -1 : 1))) {
    if (latest && latest.lastMs >= reign.firstMs) {
      const [late, next] = [latest.lastMs.toFixed(1), reign.firstMs.toFixed(1)];
      violations.push({
        invariant: 'I3 one answerer',
        key,
        message: `${latest.owner} answered under ${latest.fence} at ${late} ms, ${reign.owner} had it under ${reign.fence} since ${next} ms`,
      });
    }
    if (!latest || reign.lastMs > latest.lastMs) latest = reign;
  }
  return violations;
}
