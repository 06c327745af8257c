import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Link } from '../../lib/link/link.js';
import type { ServiceInstance } from '../../lib/mesh/service.js';
import { ServiceDirectory } from '../../lib/mesh/service-directory.js';
import { MessageReader } from '../../lib/wire/message-reader.js';
import { envDigests, type Message, MessageType, type ServiceAdd } from '../../lib/wire/messages.js';

const ENV = envDigests(['prod']);

/** The part of a link that a directory uses. */
class FakeLink {
  role = 'peer';
  envDigests = ENV;
  rttMs = 3;
  isBlocked = false;
  /** Messages that it takes before it is blocked. */
  room = Number.POSITIVE_INFINITY;
  readonly sent: string[] = [];
  private readonly reader = new MessageReader((message) => this.sent.push(describeMessage(message)));

  constructor(readonly peerId: string) {}

  send(message: Buffer): void {
    this.reader.push(message);
    this.isBlocked = --this.room <= 0;
  }

  get link(): Link {
    return this as unknown as Link;
  }
}

function describeMessage(message: Message): string {
  switch (message.type) {
    case MessageType.SERVICE_ADD:
      return `+${message.service}:${message.port}`;
    case MessageType.SERVICE_REMOVE:
      return `-${message.service}:${message.port}`;
    default:
      return message.type === MessageType.SYNCED ? 'synced' : 'other';
  }
}

function add(service: string, port = 0, changes: Partial<ServiceAdd> = {}): Message {
  return { type: MessageType.SERVICE_ADD, service, port, weight: 1, ...changes };
}

function remove(service: string, port = 0): Message {
  return { type: MessageType.SERVICE_REMOVE, service, port };
}

let events: string[];
let warnings: Error[];

function makeDirectory(changes: { announces?: boolean; maxServicesPerPeer?: number } = {}): ServiceDirectory {
  const note = (sign: string) => (instance: ServiceInstance) => {
    events.push(`${sign}${instance.service}:${instance.port}@${instance.nodeId}`);
  };
  return new ServiceDirectory(
    { nodeId: 'me', announces: true, envDigests: ENV, maxServicesPerPeer: 100, ...changes },
    { onService: note('+'), onUnservice: note('-'), onWarning: (error) => warnings.push(error) },
  );
}

beforeEach(() => {
  events = [];
  warnings = [];
});

describe('what a node tells its peers', () => {
  it('is everything that is bound, then SYNCED, then each change', () => {
    const directory = makeDirectory();
    const peer = new FakeLink('a');
    directory.bind('web', 80, 1, undefined);
    directory.bind('db', 0, 1, undefined);
    directory.onLink(peer.link);
    directory.bind('late', 0, 1, undefined);
    directory.unbind('web', 80);
    directory.unbind('web', 80);
    expect(peer.sent).toEqual(['+web:80', '+db:0', 'synced', '+late:0', '-web:80']);
    expect(events).toEqual(['+web:80@me', '+db:0@me', '+late:0@me', '-web:80@me']);
  });

  it('is nothing for clients, who announce nothing', () => {
    const directory = makeDirectory({ announces: false });
    const peer = new FakeLink('a');
    directory.bind('web', 80, 1, undefined);
    directory.onLink(peer.link);
    directory.unbind('web', 80);
    expect(peer.sent).toEqual(['synced']);
    expect(events).toEqual(['+web:80@me', '-web:80@me']);
  });

  it('is nothing for peers of other envs', () => {
    const directory = makeDirectory();
    const stranger = new FakeLink('a');
    stranger.envDigests = envDigests(['test']);
    directory.bind('web', 80, 1, undefined);
    directory.onLink(stranger.link);
    directory.bind('db', 0, 1, undefined);
    expect(stranger.sent).toEqual(['synced']);
    expect(directory.sharesEnv(stranger.link)).toBe(false);
  });

  it('waits for a slow peer, and skips what has been overtaken', () => {
    const directory = makeDirectory();
    const peer = new FakeLink('a');
    for (const name of ['a', 'b', 'c']) directory.bind(name, 0, 1, undefined);
    peer.room = 2;
    directory.onLink(peer.link);
    for (let round = 0; round < 50; round++) {
      directory.unbind('c', 0);
      directory.bind('c', 0, 1, undefined);
    }
    directory.unbind('a', 0);
    expect(peer.sent).toEqual(['+a:0', '+b:0']);
    peer.room = Number.POSITIVE_INFINITY;
    peer.isBlocked = false;
    directory.onDrain(peer.link);
    expect(peer.sent.slice(2)).toEqual(['+c:0', '-a:0', 'synced']);
  });

  it('is refused when meta is not JSON', () => {
    const directory = makeDirectory();
    expect(() => directory.bind('web', 0, 1, 1n)).toThrow('meta');
    expect(directory.table.size).toBe(0);
  });
});

describe('what peers tell a node', () => {
  it('enters and leaves the table', () => {
    const directory = makeDirectory();
    const peer = new FakeLink('a');
    directory.onLink(peer.link);
    directory.onMessage(peer.link, add('web', 80, { weight: 7, meta: { v: 1 } }));
    expect(directory.table.find('web', 80)[0].snapshot()).toEqual({
      service: 'web',
      nodeId: 'a',
      port: 80,
      cost: 3,
      hops: 1,
      local: false,
      weight: 7,
      meta: { v: 1 },
    });
    directory.onMessage(peer.link, remove('web', 80));
    directory.onMessage(peer.link, remove('web', 80));
    expect(events).toEqual(['+web:80@a', '-web:80@a']);
  });

  it('is told once when it is said twice, and anew when it has changed', () => {
    const directory = makeDirectory();
    const peer = new FakeLink('a');
    directory.onLink(peer.link);
    directory.onMessage(peer.link, add('web', 80, { meta: [1] }));
    directory.onMessage(peer.link, add('web', 80, { meta: [1] }));
    expect(events).toEqual(['+web:80@a']);
    directory.onMessage(peer.link, add('web', 80, { meta: [2] }));
    directory.onMessage(peer.link, add('web', 80, { meta: [2], weight: 9 }));
    expect(events.slice(1)).toEqual(['-web:80@a', '+web:80@a', '-web:80@a', '+web:80@a']);
    expect(directory.table.size).toBe(1);
  });

  it('goes with the link, all of it before anyone hears of it', () => {
    const directory = makeDirectory();
    const [one, two] = [new FakeLink('a'), new FakeLink('b')];
    for (const peer of [one, two]) {
      directory.onLink(peer.link);
      directory.onMessage(peer.link, add('web'));
      directory.onMessage(peer.link, add('db'));
    }
    directory.onUnlink(one.link);
    directory.onUnlink(one.link);
    directory.onMessage(one.link, add('late'));
    expect(directory.table.find('web').map(({ nodeId }) => nodeId)).toEqual(['b']);
    expect(events.slice(4)).toEqual(['-web:0@a', '-db:0@a']);
  });

  it('is ignored from clients and from other envs', () => {
    const directory = makeDirectory();
    const client = new FakeLink('a');
    client.role = 'client';
    const stranger = new FakeLink('b');
    stranger.envDigests = envDigests([]);
    for (const peer of [client, stranger]) {
      directory.onLink(peer.link);
      directory.onMessage(peer.link, add('web'));
    }
    expect(directory.table.size).toBe(0);
  });

  it('is limited, with one warning for all that is too much', () => {
    const directory = makeDirectory({ maxServicesPerPeer: 3 });
    const peer = new FakeLink('a');
    directory.onLink(peer.link);
    for (let count = 0; count < 10; count++) directory.onMessage(peer.link, add(`s${count}`));
    expect(directory.table.size).toBe(3);
    expect(warnings).toHaveLength(1);
    directory.onMessage(peer.link, remove('s0'));
    directory.onMessage(peer.link, add('s9'));
    expect(directory.table.has('s9')).toBe(true);
  });

  it('meets when one env of several is shared', () => {
    const directory = makeDirectory();
    const peer = new FakeLink('a');
    peer.envDigests = envDigests(['test', 'prod']);
    directory.onLink(peer.link);
    directory.onMessage(peer.link, add('web'));
    expect(directory.table.size).toBe(1);
  });
});
