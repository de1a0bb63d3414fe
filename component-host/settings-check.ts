/** The check of settings by a package's schema: a module of its own, so that the bundle of a host loads it only when it is needed. */
export { configure } from '#core';
