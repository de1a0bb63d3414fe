import { describePublisher } from '../support/conformance.ts';

describePublisher('local-publisher', {
  folder: 'local',
  hasBroker: false,
  open: async directory => ({ settings: { directory }, broker: null, close: async () => {} }),
});
