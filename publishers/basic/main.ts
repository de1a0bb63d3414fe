/** Entry of the package. */
import type { MessagePublisher, PublisherContext } from '#core';
import { createBasicPublisher } from './basic-publisher.ts';

export default function create(context: PublisherContext): MessagePublisher {
  return createBasicPublisher(context);
}
