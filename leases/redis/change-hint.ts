/** Tells watches when to look: every script that changes a lease publishes its name. One subscription for each master, while anybody watches. */
import type { WatchHint } from '../watch.ts';
import type { Master } from './masters.ts';

export function createChangeHint(masters: readonly Master[], channel: string): WatchHint {
  const looks = new Map<string, Set<() => void>>();
  let cancels: (() => void)[] = [];

  function onMessage(name: string | null): void {
    // Null: the subscription begins anew, and anything may have changed.
    const concerned = name === null ? [...looks.values()] : [looks.get(name) ?? new Set()];
    for (const set of concerned) for (const look of set) look();
  }

  return (name, look) => {
    if (looks.size === 0) cancels = masters.map(master => master.subscribe(channel, onMessage));
    const set = looks.get(name) ?? new Set();
    looks.set(name, set.add(look));
    return () => {
      set.delete(look);
      if (set.size === 0) looks.delete(name);
      if (looks.size === 0) for (const cancel of cancels.splice(0)) cancel();
    };
  };
}
