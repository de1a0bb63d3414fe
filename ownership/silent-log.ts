/** The logger of callers that pass none. */
import type { Logger } from '#core';

export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} };
