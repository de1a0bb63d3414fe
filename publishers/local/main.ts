/** Entry of the package. */
import { resolve } from 'node:path';
import { createSystem, type MessagePublisher, type PublisherContext } from '#core';
import { createBrokerPublisher, readPublisherSettings } from '#messaging';
import { createLocalBroker } from './local-broker.ts';

export default function create(context: PublisherContext): MessagePublisher {
  const settings = context.settings as {
    directory: string;
    messagesMax: number;
    fileBytesMax: number;
    deadLettersMax: number;
    sync: boolean;
  };
  const system = createSystem();
  const { duplicateWindowMs } = readPublisherSettings(context.settings);
  const directory = resolve(context.dataDirectory, settings.directory);
  const broker = createLocalBroker({ ...settings, directory, duplicateWindowMs }, system);
  return createBrokerPublisher(context, broker, system);
}
