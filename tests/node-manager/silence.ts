/** Loggers that say nothing. */
import pino from 'pino';
import type { Logger } from '#core';

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
export const silentFastifyLogger = pino({ level: 'silent' });
