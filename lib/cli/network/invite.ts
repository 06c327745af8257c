// starlane invite

import type { InviteOptions } from '../../node/enrolment/invite-options.js';
import { defineCommand } from '../command.js';
import type { ControlClient } from '../control/client.js';
import { flag } from '../flags.js';
import { askRunning } from './running.js';

export const invite = defineCommand({
  name: 'invite',
  summary: 'make a token for another machine',
  description: 'The node of this machine must run, and have the key of the network.',
  args: [
    {
      name: 'NAME',
      about: 'the name of the member; with an asterisk, it may choose what stands there',
      isOptional: true,
    },
  ],
  usesNode: ['credentials', 'identity'],
  flags: {
    tag: flag.list('tags in its certificate, for rules', { value: 'TAG' }),
    offer: flag.list('names of services that it may offer', { value: 'PATTERN', otherwise: '*' }),
    relayRight: flag.boolean('whether circuits of others may pass through it', {
      otherwise: 'true',
      aboutNot: 'let no circuits of others pass through it',
    }),
    issue: flag.boolean('let it have the key of the network', { otherwise: 'false' }),
    uses: flag.integer('how many machines may join with the token', { min: 1, max: 1000, otherwise: '1' }),
    expires: flag.duration('how long the token is good', { otherwise: '15m', min: 1_000, max: 30 * 86_400_000 }),
    lifetime: flag.duration('how long a certificate of the member is valid', {
      otherwise: '30d',
      min: 10_000,
      max: 397 * 86_400_000,
    }),
    address: flag.list('link addresses where the network is found', { value: 'ADDRESS' }),
  },
  examples: [
    { line: 'starlane invite', about: 'a token for one machine, good for 15 minutes' },
    {
      line: "starlane invite 'web-*' --tag blue --offer 'web*' --uses 3",
      about: 'for three machines that may offer web services',
    },
  ],
  async run(context, [name = '*'], values) {
    const rights = { relay: values.relayRight, issue: values.issue, offer: values.offer };
    const options: InviteOptions = {
      name,
      tags: values.tag,
      rights: Object.fromEntries(Object.entries(rights).filter(([, value]) => value !== undefined)),
      uses: values.uses,
      expiresInMs: values.expires,
      lifetimeMs: values.lifetime,
      addresses: values.address,
    };
    const { token } = (await askRunning(context, (client: ControlClient) =>
      client.post(
        '/control/invite',
        Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
      ),
    )) as { token: string };
    context.output.json({ token });
    context.output.line(token);
    context.output.note('On the other machine: starlane join TOKEN, or --join TOKEN with any command.');
  },
});
