/** Entry of the package. */
import { createSystem, type ComponentContext } from '#core';
import { createService } from './service.ts';

export default function create(context: ComponentContext) {
  return createService(context, createSystem());
}
