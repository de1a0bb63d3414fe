/** An error of the contract as a plain HTTP answer, for requests that never reach the REST API. */
import type { ServerResponse } from 'node:http';
import { toErrorBody, type HoldfastError } from '#core';

export function sendError(response: ServerResponse, error: HoldfastError): void {
  const body = Buffer.from(JSON.stringify(toErrorBody(error)));
  if (error.statusCode === 503) response.setHeader('retry-after', '1');
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('content-length', body.length);
  response.writeHead(error.statusCode).end(body);
}
