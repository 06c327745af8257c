// starlane watch

import { createInterface } from 'node:readline';
import type { EventAnswers, EventName } from '../../node/queries/answers.js';
import { type Context, defineCommand } from '../command.js';
import { ExitCode, Failure } from '../failure.js';
import { flag } from '../flags.js';
import { printable } from '../log.js';
import { withAsker } from './ask.js';

type Event = { [Name in EventName]: { readonly event: Name } & EventAnswers[Name] }[EventName];

export const watch = defineCommand({
  name: 'watch',
  summary: 'print links, services and warnings as they come and go',
  usesNode: true,
  flags: {
    until: flag.text('end with the first such event', {
      value: 'EVENT',
      choices: ['link', 'unlink', 'service', 'unservice', 'warning', 'drain'],
      inFile: false,
    }),
  },
  examples: [
    { line: 'starlane watch', about: 'one line for each event' },
    { line: 'starlane watch --until service --json', about: 'waits for the next service, for scripts' },
  ],
  async run(context, _args, { until }) {
    await withAsker(context, async ({ client }) => {
      const response = await client.open({ path: '/v1/events' });
      const lines = createInterface({ input: response });
      const end = () => {
        response.destroy();
        // It would wait for an end of its input, which does not come.
        lines.close();
      };
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
      let isWanted = false;
      try {
        let name = '';
        for await (const line of lines) {
          if (line.startsWith('event: ')) name = line.slice('event: '.length);
          if (!line.startsWith('data: ')) continue;
          const event = { event: name, ...JSON.parse(line.slice('data: '.length)) } as Event;
          show(context, event);
          isWanted = name === until;
          if (isWanted) break;
        }
      } catch (error) {
        if (!response.destroyed) throw error;
      } finally {
        end();
      }
      if (until !== undefined && !isWanted) throw new Failure(`the node ended before ${until}`);
    });
    return ExitCode.OK;
  },
});

function show({ output }: Context, event: Event): void {
  output.json({ time: new Date().toISOString(), ...event });
  const text = textOf(event);
  if (text !== undefined) output.line(`${new Date().toISOString().slice(11, 19)}  ${printable(text)}`);
}

function textOf(event: Event): string | undefined {
  switch (event.event) {
    case 'hello':
      return `node ${event.name ?? event.id}, version ${event.version}, ${event.state}`;
    case 'link':
      return `+ link to ${event.peerName ?? event.peerId} at ${event.address}`;
    case 'unlink':
      return `- link to ${event.peerName ?? event.peerId}${event.reason === undefined ? '' : `: ${event.reason.message}`}`;
    case 'service':
    case 'unservice': {
      const sign = event.event === 'service' ? '+' : '-';
      return `${sign} service ${event.service} at ${event.nodeName ?? event.nodeId}`;
    }
    case 'warning':
      return `! ${event.message}`;
    case 'drain':
      return 'the node drains';
    case 'lost':
      return `${event.events} events were lost: this reader was too slow`;
  }
}
