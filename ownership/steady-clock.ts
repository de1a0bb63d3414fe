/** Kept under its old name for this folder; it lives in #core, where leases measure by it too. */
export { createSteadyClock } from '#core';
