/**
 * Faults put into the protocol on purpose, by name. The simulation must find each of them, or it proves nothing of the kind. `find` must
 * occur exactly once in its file, so that a mutant that the code has left behind fails loudly instead of mutating nothing.
 *
 * Not here, because they do no harm that anybody could observe: what verifying in the directory catches a second time (tombstones),
 * and a renewal that is answered after the deadline (the directory would not have answered for a session that had expired there).
 */
export interface Mutant {
  readonly name: string;
  /** From the root of the project. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const session = 'ownership/guard/session.ts';
const step = 'ownership/guard/step.ts';
const key = 'ownership/guard/key.ts';
const leaving = 'ownership/guard/leaving.ts';
const keys = 'ownership/directory/keys.ts';
const sessions = 'ownership/directory/sessions.ts';
const retryRule = 'ownership/owners/retry-rule.ts';
const ownerTable = 'ownership/owners/owner-table.ts';

export const mutants: readonly Mutant[] = [
  // The host's session and its time
  {
    name: 'the deadline counts from the answer, not from the sending',
    file: session,
    find: 'Math.max(held.deadlineMs, deadlineOf(event, timing))',
    replace: 'Math.max(held.deadlineMs, deadlineOf({ ...event, sentAtMs: nowMs }, timing))',
  },
  {
    name: 'no margin is taken from the time to live',
    file: session,
    find: 'Math.min(timing.ttlMs, grant.expiresInMs) - timing.marginMs',
    replace: 'Math.min(timing.ttlMs, grant.expiresInMs)',
  },
  {
    name: 'a session is held beyond its deadline',
    file: session,
    find: "return nowMs < state.held.deadlineMs;\n  if (state.phase !== 'resuming')",
    replace: "return true;\n  if (state.phase !== 'resuming')",
  },
  {
    name: 'clocks differ by more than the timing model allows',
    file: 'tests/simulation/plan.ts',
    find: 'export const rateRatioMax = 1 / 0.95;',
    replace: 'export const rateRatioMax = 1.08;',
  },
  {
    name: 'the clock stands still while the machine is suspended',
    file: 'core/system/steady-clock.ts',
    find: 'if (found - offsetMs > tickMs) offsetMs = found;',
    replace: '',
  },
  {
    name: 'time does not come first',
    file: step,
    find: "machine.session({ type: 'tick' });",
    replace: '',
  },
  {
    name: 'the session is closed while keys are open',
    file: step,
    find: 'if (waitsForKeys && keys.size === 0)',
    replace: 'if (waitsForKeys)',
  },
  {
    name: 'a new session ends the old one while its keys are open',
    file: step,
    find: 'clean: this.#state.keys.size === 0',
    replace: 'clean: true',
  },
  {
    name: 'an opening may act when its session is over',
    file: step,
    find: 'if (!holds(state.session, nowMs)) return false;\n  const found',
    replace: 'const found',
  },
  {
    name: 'what was lost may still be written',
    file: step,
    find: "if ('after' in found) return found.after.type !== 'lost'",
    replace: "if ('after' in found) return true || found.after.type !== 'lost'",
  },
  {
    name: 'a resumed session keeps what was refused',
    file: 'ownership/guard/keeping.ts',
    find: '!isHeld(state) || gone.has(key) ||',
    replace: '!isHeld(state) ||',
  },
  // A key in its host
  {
    name: 'the directory is not asked before the first opening',
    file: key,
    find: "return to({ phase: 'verifying', openId: newOpenId, fence, waiters }, { type: 'verify', openId: newOpenId });",
    replace:
      "return open({ phase: 'verifying', openId: newOpenId, fence, waiters }, { fence, hadOwner: true }, { tries: 0, waiters }, { concurrency: 0, newOpenId });",
  },
  {
    name: 'an opening is not confirmed',
    file: key,
    find: 'if (state.hadOwner) return serve(state, options);',
    replace: 'return serve(state, options);',
  },
  {
    name: 'a resource with a higher fence is never caught up with',
    file: key,
    find: 'const above = event.held > state.fence ? event.held : state.fence;',
    replace: 'const above = state.fence;',
  },
  {
    name: 'a key stays open whose resource refuses its fence',
    file: key,
    find: "event.type === 'fenced' ? stepGiveUp(state, { type: 'release' }) : to(state)",
    replace: 'to(state)',
  },
  {
    name: 'a key is handed on when its requests are done, not when it is closed',
    file: key,
    find: 'return inFlight > 0 ? to({ ...state, inFlight }) : close(state, state.after);',
    replace:
      "return inFlight > 0 ? to({ ...state, inFlight }) : afterClosing(state, state.after, [{ type: 'close', openId: state.openId }]);",
  },
  {
    name: 'a key is closed while requests run',
    file: leaving,
    find: 'if (inFlight === 0) return close(state, after, rejections);',
    replace: 'if (inFlight >= 0) return close(state, after, rejections);',
  },
  {
    name: 'a key is handed on open',
    file: leaving,
    find: 'if (inFlight === 0) return close(state, after, rejections);',
    replace: 'if (inFlight === 0) return afterClosing(state, after, rejections);',
  },
  {
    name: 'an opening that nobody waits for is forgotten',
    file: leaving,
    find: "case 'opening':\n      return discard(state, lost, [over, ...reject(state.waiters, notOwner)]);",
    replace: "case 'opening':\n      return to(null, over, ...reject(state.waiters, notOwner));",
  },
  {
    name: 'a lost key is not closed',
    file: leaving,
    find: "case 'ready':\n      return close(state, lost, [over, ...reject(state.waiters, notOwner)]);",
    replace: "case 'ready':\n      return to(null, over, ...reject(state.waiters, notOwner));",
  },
  {
    name: 'waiting requests are forgotten when their key leaves',
    file: leaving,
    find: '// Those that wait for a turn have not begun: another owner can serve them just as well.\n      const rejections = reject(state.waiters, notOwner);',
    replace: 'const rejections: KeyEffect[] = [];',
  },
  // The directory's keys
  {
    name: 'a claim is not sticky',
    file: keys,
    find: 'if (record?.session?.live) return { owned: true',
    replace: 'if (record?.session?.live && record.opened) return { owned: true',
  },
  {
    name: 'keys are given out while the store collects',
    file: keys,
    find: "if (collecting) return { owned: false, reason: 'recovering' };",
    replace: '',
  },
  {
    name: 'a paused key is given out',
    file: keys,
    find: "if (record?.paused) return { owned: false, reason: 'paused' };",
    replace: '',
  },
  {
    name: 'a paused key is transferred',
    file: keys,
    find: 'const target = record.paused ? null :',
    replace: 'const target =',
  },
  {
    name: 'a new owner gets the old fence',
    file: keys,
    find: 'this.#give(claimed, owner, this.#ports.nextFence());',
    replace: 'this.#give(claimed, owner, claimed.fence || this.#ports.nextFence());',
  },
  {
    name: 'a transfer keeps the fence',
    file: keys,
    find: 'this.#give(record, target, this.#ports.nextFence());',
    replace: 'this.#give(record, target, record.fence);',
  },
  {
    name: 'a key is given up under an outdated fence',
    file: keys,
    find: 'return record.fence === held.fence ? (record',
    replace: 'return record.fence >= held.fence ? (record',
  },
  {
    name: 'a host brings back what has a newer owner',
    file: keys,
    find: '(record === null || record.fence < held.fence)',
    replace: 'true',
  },
  {
    name: 'fences that hosts bring back are not heard of',
    file: keys,
    find: 'for (const { fence } of held) this.hearOf(fence);',
    replace: 'void held;',
  },
  {
    name: 'a fence is not raised above the one asked for',
    file: keys,
    find: 'this.#ports.fenceAbove(above > record.fence ? above : record.fence)',
    replace: 'this.#ports.nextFence()',
  },
  {
    name: 'keys that leave a session stay counted',
    file: keys,
    find: 'owner.keys--;',
    replace: '',
  },
  // The directory's sessions
  {
    name: 'a late opening ends the session of a later one',
    file: sessions,
    find: 'if (facts.attempt <= latest) {',
    replace: 'if (facts.attempt < 0) {',
  },
  {
    name: 'an opening that arrives twice ends its own session',
    file: sessions,
    find: 'if (facts.attempt <= latest) {',
    replace: 'if (facts.attempt < latest) {',
  },
  {
    name: 'a renewal does not extend the session',
    file: sessions,
    find: 'session.expiresAtMs = nowMs + session.ttlMs;',
    replace: '',
  },
  {
    name: 'a session is ended before its time',
    file: sessions,
    find: 'expiresAtMs: nowMs + facts.ttlMs,',
    replace: 'expiresAtMs: nowMs + facts.ttlMs / 2,',
  },
  {
    name: 'draining is not announced',
    file: session,
    find: "{ phase: 'draining', held, mode: 'marking' },\n    { type: 'mark-draining', sessionId: held.sessionId },",
    replace: "{ phase: 'draining', held, mode: 'marking' },",
  },
  {
    name: 'a draining host gets new keys',
    file: 'ownership/placement.ts',
    find: 'candidate.draining || ',
    replace: '',
  },
  {
    name: 'a forgotten session is not told from an ended one',
    file: 'ownership/directory/directory.ts',
    find: '...(this.collects(nowMs) ? { forgotten: true } : {})',
    replace: '',
  },
  // Leases
  {
    name: 'a lease is given out that somebody has',
    file: 'leases/decision.ts',
    find: "if (live.holder !== request.holder) return { type: 'refuse', current: live };",
    replace:
      "if (live.holder !== request.holder) return { type: 'grant', expiresAtMs: nowMs + request.ttlMs };",
  },
  {
    name: 'an expired lease is revived',
    file: 'leases/decision.ts',
    find: 'record !== null && nowMs < record.expiresAtMs ? record : null',
    replace: "record !== null && (nowMs < record.expiresAtMs || request.type === 'renew') ? record : null",
  },
  {
    name: 'a lease is released under an outdated fence',
    file: 'leases/decision.ts',
    find: 'if (!live || live.holder !== request.holder || live.fence !== request.fence) {',
    replace: 'if (!live || live.holder !== request.holder) {',
  },
  {
    name: 'the deadline of a lease has no margin',
    file: 'leases/hold-machine.ts',
    find: 'Math.min(timing.ttlMs, grant.expiresInMs) - timing.marginMs',
    replace: 'Math.min(timing.ttlMs, grant.expiresInMs)',
  },
  {
    name: 'work goes on past the deadline of its lease',
    file: 'leases/hold-machine.ts',
    find: "if (nowMs >= deadlineMs || event.type === 'renewal-refused') {",
    replace: "if (event.type === 'renewal-refused') {",
  },
  {
    name: 'work begins under a fence whose release may still come',
    file: 'leases/hold-machine.ts',
    find: 'if (nowMs >= deadlineMs || spent || state.cancelled) {',
    replace: 'if (nowMs >= deadlineMs || state.cancelled) {',
  },
  // The router
  {
    name: 'a request that may have been executed is repeated',
    file: retryRule,
    find: 'facts.safe && facts.replayable && facts.brokenAttempts < brokenAttemptsMax',
    replace: 'facts.replayable && facts.brokenAttempts < brokenAttemptsMax',
  },
  {
    name: 'a broken connection is taken for nothing executed',
    file: retryRule,
    find: "case 'broken':\n      return facts.safe && facts.replayable && facts.brokenAttempts < brokenAttemptsMax\n        ? { type: 'retry' }\n        : { type: 'answer', statusCode: 502, code: 'HF_OUTCOME_UNKNOWN' };",
    replace:
      "case 'broken':\n      return facts.safe && facts.replayable && facts.brokenAttempts < brokenAttemptsMax\n        ? { type: 'retry' }\n        : { type: 'answer', statusCode: 503, code: 'HF_NO_OWNER' };",
  },
  {
    name: 'an earlier broken attempt is forgotten',
    file: retryRule,
    find: 'return facts.brokenAttempts > 0\n',
    replace: 'return facts.brokenAttempts > 99\n',
  },
  {
    name: 'a move that comes to nothing is waited for for ever',
    file: ownerTable,
    find: "const stays = event.type === 'refused' && entry?.state === 'moving';",
    replace: "const stays = entry?.state === 'moving';",
  },
  {
    name: 'a refused entry stays cached',
    file: ownerTable,
    find: 'if (entry && !stays) dropEntry(table, event.claim.pool, event.claim.key);',
    replace: '',
  },
];
