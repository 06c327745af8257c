// Log lines of the command, and what they say of a node.

import { once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createLog, type Log, type LogOptions } from '../../lib/cli/log.js';
import { logNode } from '../../lib/cli/node-log.js';
import { createNode, type Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { RelayNet } from '../support/relay-net.js';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const TOKEN = `starlane1.${'Ab-_9'.repeat(20)}`;

function written(options: Partial<LogOptions> & { isTTY?: boolean } = {}): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const stream = { write: (text: string) => lines.push(text), isTTY: options.isTTY === true };
  const log = createLog({ format: 'json', level: 'debug', stream, environment: {}, now: () => NOW, ...options });
  return { log, lines };
}

/** What one call writes as JSON. */
function json(message: string, fields?: object): Record<string, unknown> {
  const { log, lines } = written();
  log.info(message, fields as Record<string, unknown>);
  expect(lines).toHaveLength(1);
  expect(lines[0]?.match(/\n/g)).toHaveLength(1);
  return JSON.parse(lines[0] as string) as Record<string, unknown>;
}

/** What one call writes as text. */
function text(message: string, fields?: object, options: Partial<LogOptions> & { isTTY?: boolean } = {}): string {
  const { log, lines } = written({ format: 'text', ...options });
  log.warn(message, fields as Record<string, unknown>);
  return lines.join('');
}

describe('a log as JSON', () => {
  it('has the time, the level, the message and the fields of each line, in one line', () => {
    const { log, lines } = written();
    log.warn('one\ntwo', { peer: 'abc', count: 3 });
    expect(lines).toEqual([
      '{"time":"2026-01-02T03:04:05.000Z","level":"warn","msg":"one\\ntwo","peer":"abc","count":3}\n',
    ]);
  });

  it('has errors with their codes and causes, and the code of the first one', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED', port: 1 });
    const error = Object.assign(new Error('no way', { cause }), { code: 'EHOSTUNREACH' });
    expect(json('a dial failed', { error })).toEqual({
      time: '2026-01-02T03:04:05.000Z',
      level: 'info',
      msg: 'a dial failed',
      code: 'EHOSTUNREACH',
      error: {
        name: 'Error',
        message: 'no way',
        code: 'EHOSTUNREACH',
        cause: { name: 'Error', message: cause.message, code: 'ECONNREFUSED', port: 1 },
      },
    });
  });

  it('does not let fields take the place of its own', () => {
    expect(json('real', { time: 'never', level: 'error', msg: 'forged' })).toEqual({
      time: '2026-01-02T03:04:05.000Z',
      level: 'info',
      msg: 'real',
    });
  });

  it('hides secrets by their names, and tokens wherever they are', () => {
    const fields = {
      secret: 'hunter2',
      nested: { joinToken: 'abc', apiPassword: 'x', list: [{ privateKey: 'k' }] },
      error: new Error(`bad token ${TOKEN}`),
    };
    const line = JSON.stringify(json(`pasted ${TOKEN}`, fields));
    for (const hidden of ['hunter2', 'abc', '"x"', '"k"', TOKEN.slice(10)]) expect(line).not.toContain(hidden);
    expect(line.match(/\[hidden\]/g)).toHaveLength(6);
  });

  it('writes any value, with an end', () => {
    const circle: Record<string, unknown> = { big: 1n, bytes: Buffer.alloc(9), when: new Date(Number.NaN), run() {} };
    circle['self'] = circle;
    const selfCaused = new Error('of itself');
    selfCaused.cause = selfCaused;
    const said = json('x'.repeat(10_000), { circle, selfCaused, many: new Array(1_000).fill(0) });
    expect(said['msg']).toHaveLength(4_099);
    expect(said['circle']).toMatchObject({ big: '1', bytes: '9 bytes', when: null });
    expect(said['many']).toHaveLength(100);
    expect(JSON.stringify(said).length).toBeLessThan(8_000);
  });

  it('leaves out what is below its level', () => {
    const { log, lines } = written({ level: 'warn' });
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level](level);
    expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(['warn', 'error']);
  });
});

describe('a log as text', () => {
  it('has the level as a word, and the fields that the message does not say', () => {
    expect(text('link to abc', { peer: 'abc', repeated: 3 })).toBe('starlane: warning: link to abc (repeated=3)\n');
    const { log, lines } = written({ format: 'text' });
    log.info('started');
    log.error('failed');
    expect(lines).toEqual(['starlane: started\n', 'starlane: error: failed\n']);
  });

  it('has the codes of causes', () => {
    const cause = Object.assign(new Error('it drains'), { code: 'ERR_STARLANE_CLOSED' });
    const error = Object.assign(new Error('no way', { cause }), { code: 'EHOSTUNREACH' });
    expect(text('lost', { error })).toBe(
      'starlane: warning: lost (error="no way (EHOSTUNREACH): it drains (ERR_STARLANE_CLOSED)")\n',
    );
  });

  it('never has two lines, or bytes that move a cursor', () => {
    const line = text('a\nb\u001b[2J\u2028', { peer: 'c\rd' });
    expect(line).toBe('starlane: warning: a\\x0ab\\x1b[2J\\x2028 (peer="c\\rd")\n');
  });

  it('hides secrets and tokens', () => {
    expect(text(`pasted ${TOKEN}`, { secret: 'hunter2' })).toBe(
      'starlane: warning: pasted [hidden] (secret="[hidden]")\n',
    );
  });

  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [false, { FORCE_COLOR: '1' }, true],
    [true, { FORCE_COLOR: '0' }, false],
    [true, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
  ])('on a terminal: %s, with %j, has colours: %s', (isTTY, environment, has) => {
    expect(text('it', {}, { isTTY, environment }).includes('\u001b[')).toBe(has);
  });
});

describe('the log of a node', () => {
  const nodes: Node[] = [];
  let net: RelayNet | undefined;

  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    await net?.close();
    net = undefined;
  });

  const said = (lines: readonly string[]): Array<Record<string, unknown>> =>
    lines.map((line) => {
      const { time: _, ...rest } = JSON.parse(line) as Record<string, unknown>;
      return rest;
    });

  it('has its links and services, at the level debug', async () => {
    const node = createNode({ closeTimeoutMs: 50 });
    nodes.push(node);
    const { log, lines } = written();
    logNode(log, node);
    node.bind('echo', () => {});
    net = await RelayNet.line(0);
    const { address } = await net.last.listenAndServe('tcp://127.0.0.1:0');
    await node.join(address);
    await within('close', node.close());
    const peer = net.last.id;
    expect(said(lines)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          level: 'debug',
          msg: `echo of ${node.id} is offered`,
          service: 'echo',
          node: node.id,
        }),
        { level: 'debug', msg: `link to ${peer} at ${address}`, peer, address, direction: 'outbound' },
        { level: 'debug', msg: `closed the link to ${peer}`, peer, address },
      ]),
    );
  });

  it('has a lost link with its reason, and warnings and errors with their codes', async () => {
    const node = createNode();
    nodes.push(node);
    const { log, lines } = written();
    logNode(log, node);
    const error = Object.assign(new Error('it went'), { code: 'ERR_STARLANE_LINK_LOST' });
    node.emit('unlink', { peerId: 'abc', address: 'tcp://h:1' } as never, error);
    node.emit('warning', error as never);
    node.emit('error', error as never);
    expect(said(lines)).toMatchObject([
      { level: 'info', code: 'ERR_STARLANE_LINK_LOST', peer: 'abc' },
      { level: 'warn', code: 'ERR_STARLANE_LINK_LOST' },
      { level: 'error', code: 'ERR_STARLANE_LINK_LOST' },
    ]);
    expect(lines[0]).toContain('lost the link to abc: it went');
  });

  it('counts what repeats within a minute, and says so with the next line', () => {
    const node = createNode();
    nodes.push(node);
    const { log, lines } = written();
    let now = 0;
    logNode(log, node, { now: () => now });
    const fault = (message: string) => Object.assign(new Error(message), { code: 'ECONNREFUSED' });
    for (let count = 0; count < 5; count++) node.emit('warning', fault('one') as never);
    node.emit('warning', fault('another') as never);
    now = 59_999;
    node.emit('warning', fault('one') as never);
    expect(lines).toHaveLength(2);
    now = 60_000;
    node.emit('warning', fault('one') as never);
    expect(said(lines).map(({ repeated }) => repeated)).toEqual([undefined, undefined, 5]);
    now = 120_000;
    node.emit('warning', fault('one') as never);
    expect(said(lines).at(-1)).not.toHaveProperty('repeated');
  });

  it('keeps no more than it needs to count, and ends with the function that it returns', async () => {
    const node = createNode();
    nodes.push(node);
    const { log, lines } = written();
    const end = logNode(log, node);
    const fault = (message: string) => Object.assign(new Error(message), { code: 'ECONNREFUSED' });
    for (let index = 0; index < 1_025; index++) node.emit('warning', fault(`number ${index}`) as never);
    node.emit('warning', fault('number 0') as never);
    expect(lines).toHaveLength(1_026);
    end();
    node.emit('warning', fault('unheard') as never);
    expect(lines).toHaveLength(1_026);
    expect(node.listenerCount('link')).toBe(0);
    const closed = once(node, 'close');
    await node.close();
    await closed;
  });
});
