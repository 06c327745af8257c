// The parser of answers: the same result however the bytes are cut, and an error for what can be read in two ways.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type AnswerHead, ResponseParser } from '../../../lib/http/gateway/circuit/response-parser.js';

interface Read {
  readonly events: string[];
  readonly body: string;
  readonly head: AnswerHead | undefined;
  readonly isWhole: boolean;
  readonly isInStep: boolean;
}

function read(parts: readonly string[], method = 'GET', isEnd = false): Read {
  const events: string[] = [];
  let body = '';
  let head: AnswerHead | undefined;
  const parser = new ResponseParser({
    onInformational: (status) => events.push(`${status}`),
    onHead: (got) => {
      head = got;
      events.push(`head ${got.status} ${got.headers.join('|')}`);
    },
    onData: (chunk) => {
      body += chunk.toString('latin1');
    },
    onEnd: (trailers) => events.push(`end ${trailers.join('|')}`),
  });
  parser.expect(method, false);
  for (const part of parts) parser.push(Buffer.from(part, 'latin1'));
  const isWhole = isEnd ? parser.finish() : !parser.isBusy;
  return { events, body, head, isWhole, isInStep: parser.isInStep };
}

const CHUNKED =
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n' +
  '5;ext=1\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-After: 1\r\nX-More: 2\r\n\r\n';
const LENGTH = 'HTTP/1.1 201 Made it\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello';

function cut(text: string, places: readonly number[]): string[] {
  const sorted = [0, ...[...places].sort((a, b) => a - b), text.length];
  return sorted.slice(1).map((end, index) => text.slice(sorted[index], end));
}

describe('an answer', () => {
  it.each([
    ['in chunks', CHUNKED],
    ['with a length', LENGTH],
  ])('%s is the same however it is cut', (_name, text) => {
    const whole = read([text]);
    expect(whole.isWhole).toBe(true);
    expect(read([...text])).toEqual(whole);
    const places = fc.array(fc.nat(text.length), { maxLength: 10 });
    fc.assert(fc.property(places, (at) => expect(read(cut(text, at))).toEqual(whole)));
  });

  it('in chunks has trailers and informational answers before it', () => {
    expect(read([CHUNKED])).toMatchObject({
      events: ['100', '103', 'head 200 Transfer-Encoding|chunked|X|y', 'end X-After|1|X-More|2'],
      body: 'hello 0123456789',
    });
  });

  it('without a length ends with the circuit, which carries no other', () => {
    const answer = read(['HTTP/1.1 200 OK\r\n\r\nabc', 'def'], 'GET', true);
    expect(answer).toMatchObject({ body: 'abcdef', isWhole: true, head: { keepsAlive: false } });
  });

  it('that breaks off is not whole', () => {
    expect(read([LENGTH.slice(0, -1)], 'GET', true).isWhole).toBe(false);
    expect(read([CHUNKED.slice(0, -2)], 'GET', true).isWhole).toBe(false);
    expect(read(['HTTP/1.1 200'], 'GET', true).isWhole).toBe(false);
  });

  it.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'],
    ['GET', 'HTTP/1.1 204 None\r\n\r\n'],
    ['GET', 'HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n'],
    ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ])('to %s may have no body: %j', (method, text) => {
    expect(read([text], method)).toMatchObject({ isWhole: true, body: '', isInStep: true });
  });

  it('with more bytes after it is whole, but its circuit is not used again', () => {
    const answer = read([`${LENGTH}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`]);
    expect(answer.events).toHaveLength(2);
    expect(answer).toMatchObject({ body: 'hello', isInStep: false });
  });

  it('keeps the circuit as it says', () => {
    const keepsAlive = (head: string): boolean | undefined =>
      read([`${head}\r\nContent-Length: 0\r\n\r\n`]).head?.keepsAlive;
    expect(keepsAlive('HTTP/1.1 200 OK')).toBe(true);
    expect(keepsAlive('HTTP/1.1 200 OK\r\nConnection: Foo, Close')).toBe(false);
    expect(keepsAlive('HTTP/1.0 200 OK')).toBe(false);
    expect(keepsAlive('HTTP/1.0 200 OK\r\nConnection: keep-alive')).toBe(true);
  });
});

it.each([
  'HTTP/2 200 OK\r\n\r\n',
  'HTTP/1.1 20 OK\r\n\r\n',
  'HTTP/1.1  200 OK\r\n\r\n',
  'ICY 200 OK\r\n\r\n',
  'HTTP/1.1 200 O\nK\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX : y\r\n\r\n',
  'HTTP/1.1 200 OK\r\n X: y\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: b\r\n continued\r\n\r\n',
  'HTTP/1.1 200 OK\r\nNo colon\r\n\r\n',
  'HTTP/1.1 200 OK\r\n: empty\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n',
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(2_000)}`,
  `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}`,
  `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(501)}\r\n`,
  'HTTP/1.1 103 Hints\r\n\r\n'.repeat(40),
])('%j is no answer', (text) => {
  expect(() => read([text])).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE' }));
});
