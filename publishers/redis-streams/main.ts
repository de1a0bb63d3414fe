/** Entry of the package. */
import { createSystem, HoldfastError, type MessagePublisher, type PublisherContext } from '#core';
import { createBrokerPublisher, readPublisherSettings } from '#messaging';
import { createRedisBroker } from './redis-broker.ts';

export default function create(context: PublisherContext): MessagePublisher {
  const settings = context.settings as {
    url: string;
    username?: string;
    passwordEnv?: string;
    prefix: string;
    messagesMax: number;
    deadLettersMax: number;
  };
  const { url, username, passwordEnv, prefix, messagesMax, deadLettersMax } = settings;
  const password = passwordEnv === undefined ? undefined : process.env[passwordEnv];
  if (passwordEnv !== undefined && password === undefined) {
    throw new HoldfastError(
      'HF_SETTINGS_INVALID',
      `settings.passwordEnv names the variable ${passwordEnv}, which is not set; set it under env of the instance, as a secretRef`,
    );
  }
  const { duplicateWindowMs } = readPublisherSettings(context.settings);
  const address = { url, username, password };
  const system = createSystem();
  const broker = createRedisBroker(
    { address, prefix, messagesMax, deadLettersMax, duplicateWindowMs },
    system,
  );
  return createBrokerPublisher(context, broker, system);
}
