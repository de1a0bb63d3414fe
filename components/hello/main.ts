/** The smallest component: answers HTTP, owns nothing. Any number of copies may run. */
import type { Component, ComponentContext } from '#core';

export default function create(context: ComponentContext): Component {
  const { settings, processId, nodeName, log } = context;
  return {
    async start() {
      log.info({ greeting: settings.greeting }, 'ready to greet');
    },
    async stop() {},
    fetch() {
      return Response.json({ greeting: settings.greeting, processId, node: nodeName });
    },
  };
}
