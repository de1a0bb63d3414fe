/** Entry of the package. */
import { createSystem, type ComponentContext } from '#core';
import { createReplication } from './component.ts';

export default function create(context: ComponentContext) {
  return createReplication(context, createSystem());
}
