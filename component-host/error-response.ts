/** An error of the contract as a plain HTTP answer, for requests that never reach the REST API. */
import type { ServerResponse } from 'node:http';
import { CHANNEL_HEADERS, toErrorBody, type HoldfastError } from '#core';

export function sendError(response: ServerResponse, error: HoldfastError): void {
  const body = Buffer.from(JSON.stringify(toErrorBody(error)));
  if (error.statusCode === 503) response.setHeader('retry-after', '1');
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', body.length);
  response.writeHead(error.statusCode).end(body);
}

/** The guard's 421: the component has seen nothing of the request. A component's own 421 can never carry this header. */
export function refuseUnseen(response: ServerResponse, error: HoldfastError): void {
  response.setHeader(CHANNEL_HEADERS.refused, 'not-owner');
  sendError(response, error);
}
