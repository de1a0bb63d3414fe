/**
 * Following the source: its transactions in order, one or several whole ones in one transaction of the target, which also stores the
 * position. Only afterwards does the source hear of it. So a death anywhere loses nothing and repeats nothing: what was
 * not committed is sent again, what was committed is known by its position.
 */
import { applyChanges } from './applier.ts';
import type { CopyDeps } from './copy.ts';
import type { StoredState } from './state.ts';

export interface FollowDeps extends CopyDeps {
  readonly batchRows: number;
}

/** How seldom a position is stored that brings no rows; until then the source keeps its log. */
const idleSaveMs = 10_000;

/** Goes on until the signal aborts or something fails, and then throws. */
export async function follow(deps: FollowDeps, begun: StoredState): Promise<never> {
  const { source, target, progress, system, signal, batchRows } = deps;
  let state = begun;
  let isOpen = false;
  let openRows = 0;
  let savedMs = system.clock.monotonicMs();

  async function open(): Promise<void> {
    if (isOpen) return;
    await target.begin();
    isOpen = true;
  }

  async function save(): Promise<void> {
    await open();
    const { mark } = state;
    if (state.phase === 'catching-up' && mark !== null && source.reached(state.position, mark)) {
      state = { ...state, phase: 'following', mark: null };
    }
    await target.saveState(state);
    await target.commit();
    isOpen = false;
    deps.madeRoom.clear();
    source.confirm(state.position);
    savedMs = system.clock.monotonicMs();
    if (openRows > 0) {
      progress.transactions += 1;
      const { applyingSinceMs } = progress;
      progress.lastDelayMs =
        applyingSinceMs === null ? null : Math.max(0, system.clock.wallMs() - applyingSinceMs);
    }
    openRows = 0;
    const { phase, position, rows, conflicts } = state;
    Object.assign(progress, { phase, position, rows, conflicts, applyingSinceMs: null });
  }

  for await (const event of source.follow(state.position, signal)) {
    signal.throwIfAborted();
    switch (event.type) {
      case 'changes': {
        progress.applyingSinceMs ??= event.atMs;
        await open();
        const applied = await applyChanges(deps, event.changes, state.phase);
        openRows += event.changes.length;
        const mark = applied.readAhead && state.mark !== null ? await source.mark() : state.mark;
        state = {
          ...state,
          mark,
          rows: state.rows + applied.rows,
          conflicts: state.conflicts + applied.conflicts,
        };
        if (target.kind === 'sqlite') await system.timers.sleep(0); // or one large transaction holds the event loop
        break;
      }
      case 'commit':
        state = { ...state, position: event.position };
        if (isOpen && (!event.more || openRows >= batchRows)) await save();
        break;
      case 'idle': {
        const { mark } = state;
        const moved =
          !isOpen && source.reached(event.position, state.position) && event.position !== state.position;
        if (moved) {
          state = { ...state, position: event.position };
          progress.position = event.position;
        }
        const caughtUp = mark !== null && source.reached(state.position, mark);
        const due = moved && system.clock.monotonicMs() - savedMs > idleSaveMs;
        if (isOpen || caughtUp || due) await save();
      }
    }
  }
  signal.throwIfAborted();
  throw new Error('the source ended its changes');
}
