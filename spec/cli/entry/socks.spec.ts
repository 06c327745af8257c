// Clients of SOCKS, hostile ones too: bytes in any pieces, deadlines, and what each error answers.

import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { type Duplex, PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Password } from '../../../lib/cli/entry/password.js';
import { Greeting } from '../../../lib/cli/entry/socks/greeting.js';
import {
  Malformed,
  parseGreeting,
  parsePassword,
  parseRequest,
  parseRequest4,
} from '../../../lib/cli/entry/socks/wire.js';
import { netError } from '../../../lib/errors.js';

const servers: net.Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

interface Served {
  readonly client: Socket;
  readonly asked: string[];
  /** Resolves when the greeting is over. */
  readonly done: Promise<unknown>;
}

async function served(open: (host: string) => Duplex, password?: Password, greetingMs?: number): Promise<Served> {
  const asked: string[] = [];
  let onDone: (value: unknown) => void = () => {};
  const done = new Promise((resolve) => {
    onDone = resolve;
  });
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const owner = {
      password,
      open: async (host: string, port: number) => {
        asked.push(`${host}:${port}`);
        return open(host);
      },
      onOpen: (from: Socket, circuit: Duplex) => {
        from.pipe(circuit).pipe(from);
        from.on('error', () => {});
      },
      onFailed: () => {},
      onDone,
    };
    new Greeting(socket, owner, greetingMs);
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  return { client, asked, done };
}

/** An echo that is connected in the next turn. */
function echo(): Duplex {
  const circuit = new PassThrough();
  setImmediate(() => circuit.emit('connect'));
  return circuit;
}

function failing(code: 'ENOTFOUND' | 'EACCES' | 'ECONNREFUSED' | 'ETIMEDOUT' | 'EHOSTUNREACH' | 'ECONNRESET'): Duplex {
  throw netError(code, 'connect');
}

async function allOf(client: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const name = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
const request = (command: number, host: string) =>
  Buffer.concat([Buffer.of(5, command, 0, 3), name(host), Buffer.of(0, 80)]);
const GREETING = Buffer.of(5, 1, 0);

describe('a client of SOCKS', () => {
  it('is served when its bytes come one at a time', async () => {
    const { client, asked } = await served(echo);
    client.setNoDelay(true);
    for (const byte of Buffer.concat([GREETING, request(1, 'web'), Buffer.from('early')])) {
      client.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    client.end();
    expect((await allOf(client)).toString('latin1')).toBe('\x05\0\x05\0\0\x01\0\0\0\0\0\0early');
    expect(asked).toEqual(['web:80']);
  });

  it('is served when all of its bytes come at once, also by version 4', async () => {
    const five = await served(echo);
    five.client.end(Buffer.concat([GREETING, request(1, 'web'), Buffer.from('early')]));
    expect((await allOf(five.client)).toString('latin1')).toBe('\x05\0\x05\0\0\x01\0\0\0\0\0\0early');
    const four = await served(echo);
    four.client.end(Buffer.concat([Buffer.of(4, 1, 0, 80, 0, 0, 0, 1), Buffer.from('me\0web\0early')]));
    expect((await allOf(four.client)).toString('latin1')).toBe('\0Z\0\0\0\0\0\0early');
    expect(four.asked).toEqual(['web:80']);
  });

  it.each([
    ['ENOTFOUND', 4],
    ['EHOSTUNREACH', 4],
    ['EACCES', 2],
    ['ECONNREFUSED', 5],
    ['ETIMEDOUT', 6],
    ['ECONNRESET', 1],
  ] as const)('gets for %s the reply %i', async (code, reply) => {
    const { client } = await served(() => failing(code));
    client.write(Buffer.concat([GREETING, request(1, 'web')]));
    expect((await allOf(client))[3]).toBe(reply);
  });

  it('gets for BIND and UDP the reply 7, for an unknown type of address 8', async () => {
    for (const command of [2, 3, 99]) {
      const { client, asked } = await served(echo);
      client.write(Buffer.concat([GREETING, request(command, 'web')]));
      expect((await allOf(client))[3]).toBe(7);
      expect(asked).toEqual([]);
    }
    const { client } = await served(echo);
    client.write(Buffer.concat([GREETING, Buffer.of(5, 1, 0, 9, 1, 1, 1)]));
    expect((await allOf(client))[3]).toBe(8);
  });

  it('needs the right password where one is set', async () => {
    const password = new Password('me', 'secret');
    const right = await served(echo, password);
    const sent = (word: string) => Buffer.concat([Buffer.of(5, 2, 0, 2, 1), name('me'), name(word), request(1, 'web')]);
    right.client.end(Buffer.concat([sent('secret'), Buffer.from('in')]));
    expect((await allOf(right.client)).toString('latin1')).toBe('\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0in');
    const wrong = await served(echo, password);
    wrong.client.write(sent('guess'));
    expect([...(await allOf(wrong.client))]).toEqual([5, 2, 1, 1]);
    const none = await served(echo, password);
    none.client.write(GREETING);
    expect([...(await allOf(none.client))]).toEqual([5, 0xff]);
    expect([...wrong.asked, ...none.asked]).toEqual([]);
  });

  it('that says nothing, or not enough, loses its connection after a deadline', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.of(5), Buffer.concat([GREETING, Buffer.of(5, 1)])]) {
      const { client, done } = await served(echo, undefined, 50);
      client.write(bytes);
      client.resume();
      await done;
      await once(client, 'close');
    }
  });

  it('that speaks HTTP, or ends, is dropped', async () => {
    const { client, done } = await served(echo);
    client.write('GET / HTTP/1.1\r\n\r\n');
    expect((await allOf(client)).length).toBe(0);
    await done;
    const gone = await served(echo);
    gone.client.end(GREETING);
    await gone.done;
  });
});

describe('the messages of SOCKS', () => {
  it('are read from any bytes without another error than Malformed, and never beyond their end', () => {
    const parsers = [parseGreeting, parsePassword, parseRequest, parseRequest4];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(3), (bytes, which) => {
        try {
          const parsed = parsers[which](Buffer.from(bytes));
          if (parsed !== undefined) expect(parsed.length).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          if (!(error instanceof Malformed)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});
