import { startRedis } from '../../support/redis-server.ts';
import { describePublisher } from '../support/conformance.ts';

describePublisher('redis-streams-publisher', {
  folder: 'redis-streams',
  hasBroker: true,
  async open(root) {
    const redis = await startRedis({ persistence: 'always', root });
    return {
      settings: { url: redis.url },
      broker: {
        kill: () => redis.kill(),
        start: () => redis.start(),
        pause: () => redis.pause(),
        resume: () => redis.resume(),
      },
      close: () => redis.stop(),
    };
  },
});
