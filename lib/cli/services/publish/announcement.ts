// What `publish` prints: where the service is, and the command for another machine.

import { decodeToken } from '../../../wire/token.js';
import type { Context } from '../../command.js';
import { lineOf } from '../../failure.js';
import type { Access } from '../../run/use-network.js';
import type { PublishOptions } from './options.js';
import { nameOf, type Target } from './target.js';

const LOOPBACK = /^[a-z]+:\/\/(?:127\.|\[::1\]|localhost)/;

export interface Announcement {
  readonly options: PublishOptions;
  readonly to: Target | undefined;
  /** Whether a token is wanted: always, never, or only if the network is new. */
  readonly invite: boolean | undefined;
  readonly isNew: boolean;
}

export async function announce(context: Context, access: Access, of: Announcement): Promise<void> {
  const { output } = context;
  const { options, to } = of;
  const token = await tokenFor(context, access, of);
  const command = token === undefined ? undefined : `${ownName(context)} ${useOf(options, to)} --join ${token}`;
  const until = token === undefined ? undefined : new Date(decodeToken(token).expiresAtMs);
  output.json({
    service: options.name,
    to: to === undefined ? 'mcp' : nameOf(to),
    node: access.overlay.id,
    listen: await access.listens(),
    ...(token === undefined ? {} : { token, expires: until, command }),
  });
  if (output.isJson) return;
  const what = to === undefined ? 'an MCP server for each caller' : nameOf(to);
  output.line(`published ${output.style('bold', options.name)} (${what})`);
  if (command === undefined || token === undefined || until === undefined) return;
  output.line();
  output.line(`On another machine, once, until ${clockTime(until)}:`);
  output.line();
  output.line(`  ${output.style('green', command)}`);
  output.line();
  const { addresses } = decodeToken(token);
  const places = addresses.map((address) => address.replace(/^tls:\/\//, '')).join(', ');
  output.note(`It finds this one at ${places}.`);
  output.note(`More tokens: ${ownName(context)} invite. What runs here: ${ownName(context)} status.`);
  if (addresses.every((address) => LOOPBACK.test(address))) {
    context.log.warn(
      `other machines cannot use it: the network is found at ${places} only; use --listen :7400, or --advertise for an address that leads here`,
    );
  }
}

/** Returns a token, or undefined where none is wanted. @throws as Node.invite when one was asked for */
async function tokenFor(
  context: Context,
  access: Access,
  { invite, isNew }: Announcement,
): Promise<string | undefined> {
  if (invite === false || (invite === undefined && !isNew)) return undefined;
  try {
    return await access.invite({ name: '*' });
  } catch (error) {
    // The service is there without it.
    if (invite === true) throw error;
    context.log.warn(`there is no token for another machine: ${lineOf(error)}`);
    return undefined;
  }
}

/** Returns the command as the user has called it. */
function ownName({ environment }: Context): string {
  return environment['npm_command'] === 'exec' ? 'npx starlane' : 'starlane';
}

/** Returns the command that uses the service. */
function useOf({ name }: PublishOptions, to: Target | undefined): string {
  if (to === undefined) return `mcp ${name}`;
  // Ports below 1024 are not for everyone.
  const port = to.unix !== undefined ? 8080 : to.port < 1024 ? 8000 + to.port : to.port;
  return `forward ${port}:${name}`;
}

/** Returns hours and minutes of this place. */
function clockTime(date: Date): string {
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}
