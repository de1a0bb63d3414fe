/** An error of the contract as an answer, and the refusals that no component can make. */
import { toErrorBody, type HoldfastError } from '#core';
import { resetCode, type IncomingRequest } from '#frames';

export function sendError(incoming: IncomingRequest, error: HoldfastError): void {
  const body = Buffer.from(JSON.stringify(toErrorBody(error)));
  const retry = error.statusCode === 503 ? 'retry-after: 1\r\n' : '';
  const headers = `${retry}content-type: application/json; charset=utf-8\r\ncontent-length: ${body.length}\r\n`;
  const head = { status: error.statusCode, reason: '', headers };
  incoming.respond(head, incoming.method === 'HEAD' ? null : body, true);
}

/** The guard's refusal: the component has seen nothing of the request. */
export function refuseUnseen(incoming: IncomingRequest, error: HoldfastError): void {
  incoming.reset(resetCode.notOwner, error.message);
}

/** It would wait for itself, and the component has seen nothing of it. */
export function refuseCycle(incoming: IncomingRequest, error: HoldfastError): void {
  incoming.reset(resetCode.cycle, JSON.stringify(toErrorBody(error)));
}
