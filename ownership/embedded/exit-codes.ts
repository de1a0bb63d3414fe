/** How the coordinator process ends, as in sysexits.h. */
export const EXIT = { done: 0, failed: 1, usage: 64, alreadyRunning: 75, stateUnusable: 78 } as const;
