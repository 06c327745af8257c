// What a client of node:http or node:https sees of its requests, event by event and in which async context: the same over a service as
// over node:net.

import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Agent,
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer, request as httpsRequest } from 'node:https';
import { types } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { turn } from '../support/turns.js';
import { CARRIERS, type Carrier, type Place } from './carriers.js';

const store = new AsyncLocalStorage<string>();
const REQUEST_EVENTS = ['socket', 'continue', 'information', 'upgrade', 'response', 'timeout', 'error', 'close'];
const RESPONSE_EVENTS = ['data', 'end', 'aborted', 'error', 'close'];

/** What {@link record} says of an event in another context than that of its request. */
const OTHER_CONTEXT = / in the context \w+/;

/** The code of an error, and its message where that holds no address. */
function textOf({ code, syscall, message }: NodeJS.ErrnoException): string {
  return syscall === undefined ? `${code}: ${message}` : `${syscall} ${code}`;
}

/** One line for each event: its name, the context it came in if that is not the request's, and the code of an error. */
function record(message: ClientRequest, label: string): string[] {
  const lines: string[] = [];
  const note = (name: string) => (value: unknown) => {
    const context = store.getStore();
    const code = types.isNativeError(value) ? ` ${textOf(value)}` : '';
    const line = `${name}${context === label ? '' : ` in the context ${context}`}${code}`;
    // Chunks are cut as it comes.
    if (!(name.endsWith('data') && lines.at(-1) === line)) lines.push(line);
  };
  for (const name of REQUEST_EVENTS) {
    if (name !== 'upgrade') message.on(name, note(name));
  }
  message.prependListener('response', (response: IncomingMessage) => {
    for (const name of RESPONSE_EVENTS) response.on(name, note(`response ${name}`));
  });
  return lines;
}

interface Scene {
  readonly what: string;
  /** Makes requests one after the other; `send` resolves when the request is closed. */
  run(world: World): Promise<void>;
}

interface World {
  readonly place: Place;
  readonly nowhere: Place;
  readonly agent: Agent;
  send(label: string, options: RequestOptions, act?: (message: ClientRequest) => void): Promise<void>;
}

const scenes: Scene[] = [
  {
    what: 'one request after the other on a socket',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' });
      await send('two', { ...place, path: '/ok' });
    },
  },
  {
    what: 'requests that wait for a socket',
    async run({ send, place, agent }) {
      agent.maxSockets = 1;
      await Promise.all([send('one', { ...place, path: '/ok' }), send('two', { ...place, path: '/ok' })]);
    },
  },
  {
    what: 'a request that is refused',
    async run({ send, nowhere }) {
      await send('refused', { ...nowhere });
    },
  },
  {
    what: 'a server that breaks off ahead of the answer',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' });
      await send('two', { ...place, path: '/hang-up' });
    },
  },
  {
    what: 'a server that breaks off in the middle of the answer',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' });
      await send('two', { ...place, path: '/break' });
    },
  },
  {
    what: 'a server that answers without end until it is closed',
    async run({ send, place }) {
      await send('one', { ...place, path: '/close' });
    },
  },
  {
    what: 'a server that leaves a free socket',
    async run({ send, place }) {
      let left: Promise<unknown> | undefined;
      await send('one', { ...place, path: '/leave' }, (message) =>
        message.on('socket', (socket) => {
          left = new Promise((resolve) => socket.once('close', resolve));
        }),
      );
      await within('the close', left as Promise<unknown>);
      await send('two', { ...place, path: '/ok' });
    },
  },
  {
    what: 'a request that times out on a socket that has served another',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' });
      await send('two', { ...place, path: '/hang', timeout: 20 }, (message) =>
        message.on('timeout', () => message.destroy()),
      );
    },
  },
  {
    what: 'a request that is destroyed ahead of its socket',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' }, (message) => message.destroy());
    },
  },
  {
    what: 'a request that is destroyed with an error ahead of its socket',
    async run({ send, place }) {
      await send('one', { ...place, path: '/ok' }, (message) => message.destroy(new Error('not wanted')));
    },
  },
  {
    what: 'a request that is aborted by a signal while it waits',
    async run({ send, place }) {
      const controller = new AbortController();
      await send('one', { ...place, path: '/hang', signal: controller.signal }, (message) =>
        message.on('socket', (socket) => {
          if (socket.connecting) socket.once('connect', () => controller.abort());
          else controller.abort();
        }),
      );
    },
  },
  {
    what: 'a request whose response is destroyed in the middle',
    async run({ send, place }) {
      await send('one', { ...place, path: '/half' }, (message) =>
        message.on('response', (response) => response.once('data', () => response.destroy())),
      );
    },
  },
  {
    what: 'information ahead of the answer',
    async run({ send, place }) {
      await send('one', { ...place, path: '/hints' });
    },
  },
  {
    what: 'an upgrade without a listener',
    async run({ send, place }) {
      await send('one', { ...place, headers: { Connection: 'Upgrade', Upgrade: 'echo' } });
    },
  },
  {
    what: 'an answer that is no HTTP',
    async run({ send, place }) {
      await send('one', { ...place, path: '/garbage' });
    },
  },
  {
    what: 'an answer without a body, and one to HEAD',
    async run({ send, place }) {
      await send('one', { ...place, path: '/empty' });
      await send('two', { ...place, path: '/ok', method: 'HEAD' });
    },
  },
];

const PROTOCOLS = ['http:', 'https:'] as const;
type Protocol = (typeof PROTOCOLS)[number];

async function serve(carrier: Carrier, protocol: Protocol): Promise<Place> {
  const answer = (message: IncomingMessage, response: ServerResponse): void => {
    const { socket } = message;
    switch (message.url) {
      case '/hang':
        break;
      case '/hang-up':
        socket.destroy();
        break;
      case '/break':
        response.write('a part', () => socket.destroy());
        break;
      case '/half':
        response.write('a part');
        break;
      case '/close':
        socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it');
        break;
      case '/leave':
        response.end('ok', () => setImmediate(() => socket.end()));
        break;
      case '/hints':
        response.writeEarlyHints({ link: '</style.css>; rel=preload' });
        response.end('ok');
        break;
      case '/garbage':
        socket.end('no HTTP at all\r\n\r\n');
        break;
      case '/empty':
        response.writeHead(204).end();
        break;
      default:
        response.end('ok');
    }
  };
  const server = protocol === 'http:' ? createServer(answer) : createSecureServer(await certificateFor('web'), answer);
  server.on('upgrade', (_message, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
  });
  return carrier.serve(server);
}

/** What the requests of a scene see, over a carrier. */
async function see(carrier: Carrier, scene: Scene, protocol: Protocol): Promise<Record<string, string[]>> {
  const [place, nowhere] = [await serve(carrier, protocol), await carrier.nowhere()];
  const { cert: ca } = await certificateFor('web');
  const [agent, request] =
    protocol === 'http:'
      ? [carrier.agent(), httpRequest]
      : [carrier.secureAgent({ ca, servername: 'web', maxCachedSessions: 0 }), httpsRequest];
  const seen: Record<string, string[]> = {};
  const send: World['send'] = async (label, options, act) => {
    await store.run(label, async () => {
      const message = request({ ...options, agent });
      // Not events.once: an error on the way is part of it.
      const closed = new Promise((resolve) => message.on('close', resolve));
      seen[label] = record(message, label);
      message.on('response', (response) => response.resume());
      act?.(message);
      message.end();
      await within(`the close of ${label}`, closed);
    });
    // What comes behind 'close'.
    await turn();
  };
  await scene.run({ place, nowhere, agent, send });
  return seen;
}

/** Which of the two closes comes first behind the end of a response depends on how its bytes were cut. */
function settled(lines: string[]): string[] {
  const end = lines.indexOf('response end') + 1;
  return end === 0 ? lines : [...lines.slice(0, end), ...lines.slice(end).sort()];
}

describe('a client of Node', () => {
  const carriers: Carrier[] = [];
  beforeEach(async () => {
    watchHandles();
    for (const { open } of CARRIERS) carriers.push(await open());
  });
  afterEach(async () => {
    for (const carrier of carriers.splice(0)) await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  const cases = PROTOCOLS.flatMap((protocol) => scenes.map((scene) => [protocol, scene.what, scene] as const));

  it.each(cases)('over %s sees the same of %s', async (protocol, _what, scene) => {
    const [overNet, overService] = carriers;
    const expected = await see(overNet, scene, protocol);
    for (const [label, lines] of Object.entries(expected)) {
      expect(lines.length).toBeGreaterThan(1);
      // Over TLS, node:net keeps the context of the first request on a socket.
      expected[label] = settled(lines.map((line) => line.replace(OTHER_CONTEXT, '')));
    }
    const seen = await see(overService, scene, protocol);
    for (const [label, lines] of Object.entries(seen)) seen[label] = settled(lines);
    expect(seen).toEqual(expected);
  });
});
