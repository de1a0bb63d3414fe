/**
 * Makes the light Request and Response pass for the platform's own wherever the platform takes one. Loaded only by hosts whose
 * component answers HTTP: it brings in the runtime's whole Fetch implementation.
 */
import { LazyRequest } from './lazy-request.ts';
import { LazyResponse } from './lazy-response.ts';

/** Idempotent. */
export function preparePlatform(): void {
  if ('holdfast' in globalThis.fetch) return;
  const { fetch: nativeFetch, Request: NativeRequest } = globalThis;
  class Request extends NativeRequest {
    constructor(input: ConstructorParameters<typeof NativeRequest>[0], init?: RequestInit) {
      super(realOf(input), init);
    }
    static override [Symbol.hasInstance](value: unknown): boolean {
      if (this === Request) return value instanceof NativeRequest;
      return Function.prototype[Symbol.hasInstance].call(this, value);
    }
  }
  const patched: typeof fetch = (input, init) => nativeFetch(realOf(input), init);
  globalThis.Request = Request;
  globalThis.Response = LazyResponse as unknown as typeof globalThis.Response;
  globalThis.fetch = Object.assign(patched, { holdfast: true });
  void new LazyResponse('').native.text(); // the first one takes 20 ms and more, which no request shall pay for
}

function realOf<Input>(input: Input): Input | globalThis.Request {
  return LazyRequest.isOne(input) ? input.native : input;
}
