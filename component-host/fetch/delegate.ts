/** Lets a light object pass for a platform one: whatever it does not answer itself, a real one answers. */

/**
 * Adds to `light` all that `native` has and it has not, answered by the real object that `realOf` gives; and puts `native` above it,
 * so that `instanceof` says yes.
 */
export function delegate(light: object, native: object, realOf: (value: unknown) => object): void {
  for (const key of Reflect.ownKeys(native)) {
    if (Object.hasOwn(light, key)) continue;
    const { value, get } = Object.getOwnPropertyDescriptor(native, key)!;
    if (get) {
      Object.defineProperty(light, key, {
        configurable: true,
        enumerable: true,
        get(): unknown {
          return Reflect.get(realOf(this), key);
        },
      });
    } else if (typeof value === 'function') {
      Object.defineProperty(light, key, {
        configurable: true,
        writable: true,
        value(this: unknown, ...parameters: unknown[]): unknown {
          return (value as (...args: unknown[]) => unknown).apply(realOf(this), parameters);
        },
      });
    }
  }
  Object.setPrototypeOf(light, native);
}
