// The two protocols without a socket: what is sent, byte for byte, and what any division of the answer into chunks leads to.

import { describe, expect, it } from '@jest/globals';
import type { Dialogue, Step } from '../../../lib/link/via/dialogue.js';
import { HttpConnect } from '../../../lib/link/via/http-connect.js';
import { SocksConnect } from '../../../lib/link/via/socks.js';

const TARGET = { host: 'far.example.test', port: 7400 };
const ME = { user: 'me', password: 'secret' };

function caught(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

/** Pushes an answer in chunks of this size. Returns what was sent in between, and the rest once the tunnel is open. */
function exchange(dialogue: Dialogue, answer: Buffer, chunkBytes: number): { sent: Buffer[]; rest?: string } {
  const sent = [dialogue.begin()];
  for (let at = 0; at < answer.length; at += chunkBytes) {
    const step: Step = dialogue.push(answer.subarray(at, at + chunkBytes));
    if (step.isOpen) return { sent, rest: step.rest.toString('latin1') + answer.toString('latin1', at + chunkBytes) };
    if (step.send !== undefined) sent.push(step.send);
  }
  return { sent };
}

describe('CONNECT', () => {
  const http = (credentials?: typeof ME, target = TARGET): HttpConnect => new HttpConnect(target, credentials);

  it('is one request, with credentials if there are any', () => {
    expect(http().begin().toString()).toBe(
      'CONNECT far.example.test:7400 HTTP/1.1\r\nHost: far.example.test:7400\r\n\r\n',
    );
    expect(http(ME).begin().toString()).toBe(
      'CONNECT far.example.test:7400 HTTP/1.1\r\nHost: far.example.test:7400\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n',
    );
  });

  it.each([
    ['2001:db8::1', '[2001:db8::1]:7400'],
    ['192.0.2.1', '192.0.2.1:7400'],
    ['münchen.example', 'xn--mnchen-3ya.example:7400'],
    ['a_b.example', 'a_b.example:7400'],
  ])('names %s as %s', (host, authority) => {
    expect(http(undefined, { host, port: 7400 }).begin().toString()).toContain(`CONNECT ${authority} HTTP/1.1\r\n`);
  });

  it.each([
    'HTTP/1.1 200 Connection established\r\n\r\n',
    'HTTP/1.0 200\r\nVia: x\r\n\r\n',
    'HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\nA: b\n\n',
  ])('is granted by %j in chunks of any size, and what follows is not lost', (answer) => {
    for (let size = 1; size <= answer.length + 4; size++) {
      const { rest, sent } = exchange(http(), Buffer.from(`${answer}\r\nrest`), size);
      expect(sent).toHaveLength(1);
      expect(rest).toBe('\r\nrest');
    }
  });

  it.each<[string, string, string]>([
    ['407 Proxy Authentication Required', 'ERR_STARLANE_PROXY_AUTH', 'wrong user or password (407 Proxy Auth'],
    ['403 Forbidden', 'ERR_STARLANE_PROXY', 'it does not allow this host or port (403 Forbidden)'],
    ['502 Bad Gateway', 'ERR_STARLANE_PROXY', 'it cannot reach the host (502 Bad Gateway)'],
    ['503', 'ERR_STARLANE_PROXY', 'it cannot reach the host, or is overloaded (503)'],
    ['504 Gateway Timeout', 'ERR_STARLANE_PROXY', 'the host does not answer it (504 Gateway Timeout)'],
    ['302 Found', 'ERR_STARLANE_PROXY', 'it refuses the connection (302 Found)'],
    ['101 Switching Protocols', 'ERR_STARLANE_PROXY', 'it refuses the connection (101 Switching Protocols)'],
    [`418 ${'x'.repeat(200)}\x1b[31m`, 'ERR_STARLANE_PROXY', `(418 ${'x'.repeat(80)}...)`],
    ['418 \x1b[31mred\x07', 'ERR_STARLANE_PROXY', '(418 ?[31mred?)'],
  ])('is refused by %j', (status, code, detail) => {
    const error = caught(() => http(ME).push(Buffer.from(`HTTP/1.1 ${status}\r\nX: y\r\n\r\n<html>`, 'latin1')));
    expect(error).toMatchObject({ code, message: expect.stringContaining(detail) });
  });

  it('says which login the proxy wants', () => {
    const answer = (...schemes: string[]): Buffer =>
      Buffer.from(`HTTP/1.1 407 No\r\n${schemes.map((scheme) => `proxy-authenticate: ${scheme}\r\n`).join('')}\r\n`);
    const detail = (dialogue: HttpConnect, ...schemes: string[]): string =>
      caught(() => dialogue.push(answer(...schemes))).message;
    expect(detail(http(ME), 'Negotiate', 'NTLM')).toContain('it wants Negotiate, NTLM, and this node knows Basic only');
    expect(detail(http(ME), 'NTLM', 'Basic realm="x"')).toContain('wrong user or password');
    expect(detail(http(), 'Basic realm="x"')).toContain('it wants a user and a password');
    expect(detail(http())).toContain('it wants a user and a password');
  });

  it('does not go on without end', () => {
    const many = caught(() => http().push(Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'.repeat(9))));
    expect(many.message).toContain('interim answers');
    const dialogue = http();
    dialogue.push(Buffer.from('HTTP/1.1 200 OK\r\n'));
    const long = caught(() => {
      for (let line = 0; line < 10_000; line++) dialogue.push(Buffer.from('X: y\r\n'));
    });
    expect(long.message).toContain('more than 16384 bytes');
    expect(caught(() => http().push(Buffer.from(`HTTP/1.1 200 ${'x'.repeat(17_000)}\r\n\r\n`))).message).toContain(
      '16384',
    );
  });
});

describe('SOCKS', () => {
  const socks = (credentials?: typeof ME, target = TARGET): SocksConnect => new SocksConnect(target, credentials);
  const GRANTED = [5, 0, 0, 1, 127, 0, 0, 1, 0, 80];

  it('asks for the host by its name', () => {
    const { sent, rest } = exchange(socks(), Buffer.from([5, 0]), 2);
    expect(rest).toBeUndefined();
    expect(sent[0]).toEqual(Buffer.from([5, 1, 0]));
    expect(sent[1]).toEqual(
      Buffer.concat([Buffer.from([5, 1, 0, 3, 16]), Buffer.from('far.example.test'), Buffer.from([28, 232])]),
    );
  });

  it.each([
    ['192.0.2.1', [1, 192, 0, 2, 1]],
    ['2001:db8::1', [4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
    ['::', [4, ...new Array<number>(16).fill(0)]],
    ['1:2:3:4:5:6:7:8', [4, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['::ffff:192.0.2.1', [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]],
    ['ü.example', [3, 15, ...Buffer.from('xn--tda.example')]],
  ])('encodes %s', (host, bytes) => {
    const { sent } = exchange(socks(undefined, { host, port: 1 }), Buffer.from([5, 0]), 1);
    expect([...(sent[1] as Buffer)]).toEqual([5, 1, 0, ...bytes, 0, 1]);
  });

  it('logs in where the proxy wants it, and only where there are credentials', () => {
    const { sent } = exchange(socks(ME), Buffer.from([5, 2, 1, 0]), 1);
    // The reply to the login arrives after it was sent, chunk by chunk.
    expect(sent[0]).toEqual(Buffer.from([5, 2, 0, 2]));
    expect(sent[1]?.toString('latin1')).toBe('\x01\x02me\x06secret');
    expect(sent[2]?.[0]).toBe(5);
  });

  it.each([
    ['an IPv4 address', GRANTED],
    ['a name', [5, 0, 0, 3, 2, 97, 98, 0, 80]],
    ['an empty name', [5, 0, 0, 3, 0, 0, 80]],
    ['an IPv6 address', [5, 0, 0, 4, ...new Array<number>(16).fill(1), 0, 80]],
  ])('is granted with %s in chunks of any size, and what follows is not lost', (_title, reply) => {
    for (let size = 1; size <= reply.length + 4; size++) {
      const dialogue = socks();
      dialogue.begin();
      dialogue.push(Buffer.from([5, 0]));
      let rest = '';
      const answer = Buffer.concat([Buffer.from(reply), Buffer.from('rest')]);
      let isOpen = false;
      for (let at = 0; at < answer.length; at += size) {
        const chunk = answer.subarray(at, at + size);
        if (isOpen) rest += chunk;
        else {
          const step = dialogue.push(chunk);
          if (step.isOpen) {
            isOpen = true;
            rest += step.rest;
          }
        }
      }
      expect(rest).toBe('rest');
    }
  });

  it.each<[number[], string, string]>([
    [[5, 0xff], 'ERR_STARLANE_PROXY_AUTH', 'it wants a user and a password'],
    [[5, 2], 'ERR_STARLANE_PROXY', 'it chose a method that was not offered (2)'],
    [[5, 1], 'ERR_STARLANE_PROXY', 'it chose a method that was not offered (1)'],
    [[4, 0], 'ERR_STARLANE_PROXY', 'it does not answer as a SOCKS proxy of version 5'],
    [[72, 84, 84, 80, 47], 'ERR_STARLANE_PROXY', 'but as an HTTP proxy'],
    [[5, 0, 5, 0], 'ERR_STARLANE_PROXY', 'it answers before it was asked'],
  ])('is refused by the method %j', (answer, code, detail) => {
    expect(caught(() => socks().push(Buffer.from(answer)))).toMatchObject({
      code,
      message: expect.stringContaining(detail),
    });
  });

  it.each<[number[], string]>([
    [[5, 1], 'it has failed (SOCKS reply 1)'],
    [[5, 2, 0, 1], 'it does not allow this host or port'],
    [[5, 5], 'nothing listens at the host and port'],
    [[5, 99], 'it refuses the connection (SOCKS reply 99)'],
    [[5, 0, 0, 7], 'an unknown kind of address (7)'],
    [[1, 0], 'it does not answer as a SOCKS proxy'],
  ])('is refused by the reply %j', (reply, detail) => {
    const dialogue = socks();
    dialogue.push(Buffer.from([5, 0]));
    expect(caught(() => dialogue.push(Buffer.from(reply)))).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining(detail),
    });
  });

  it('refuses a wrong password, and a proxy that takes none', () => {
    const dialogue = socks(ME);
    dialogue.push(Buffer.from([5, 2]));
    expect(caught(() => dialogue.push(Buffer.from([1, 1])))).toMatchObject({ code: 'ERR_STARLANE_PROXY_AUTH' });
    expect(caught(() => socks(ME).push(Buffer.from([5, 0xff]))).message).toContain('it takes no user and password');
  });
});
