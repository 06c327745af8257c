// Who may dial: what the server and the dialler see of a decision, and what a peer can do while it is awaited.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type Socket } from '../../../lib/index.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import type { AllowRequest } from '../../../lib/options/allow.js';
import { envDigests } from '../../../lib/wire/messages.js';
import type { OpenRequest } from '../../../lib/wire/open.js';
import { type ReadReply, ReplyCode, tryReadReply } from '../../../lib/wire/open-reply.js';
import { catchErrorsOfTicks } from '../../support/caught-errors.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { echoOpen, RawPeer } from '../../support/raw-peer.js';
import { turn, turnsUntil } from '../../support/turns.js';

let node: Node;
let peer: RawPeer;

async function meet(options: NodeOptions = {}, envs: string[] = []): Promise<void> {
  node = createNode({ closeTimeoutMs: 100, ...options });
  peer = new RawPeer(true);
  const link = node.attach(peer.duplex, { initiator: false });
  await peer.handshake({ envDigests: envDigests(envs) });
  await link;
}

function open(changes: Partial<OpenRequest> = {}, data = ''): MuxStream {
  const bytes = echoOpen(node.id, peer.identity.nodeId, changes);
  return peer.session.open(peer, Buffer.concat([bytes, Buffer.from(data)]));
}

/** As the peer passes it on for another node, which claims to be `src`. */
function passOn(changes: Partial<OpenRequest> = {}): MuxStream {
  const { nodeId } = peer.identity;
  const relayed = { src: 'AAAAAAAAAAA', visited: ['BBBBBBBBBBA', nodeId], relays: 2, remainingMs: 10_000 };
  const stream = open({ ...relayed, env: envDigests([])[0], ...changes });
  stream.useRelayWindow();
  return stream;
}

async function replyOn(stream: MuxStream): Promise<ReadReply> {
  await peer.until(() => tryReadReply(peer.received(stream)) !== undefined);
  return tryReadReply(peer.received(stream))?.reply as ReadReply;
}

/** What came behind the reply. */
function dataOn(stream: MuxStream): string {
  const { bytesRead } = tryReadReply(peer.received(stream)) ?? { bytesRead: 0 };
  return peer.received(stream).subarray(bytesRead).toString();
}

/** An `allow` that the spec controls. */
class Answers {
  readonly requests: AllowRequest[] = [];
  private readonly answers: Array<(isAllowed: boolean) => void> = [];
  readonly allow = (request: AllowRequest): Promise<boolean> => {
    this.requests.push(request);
    return new Promise((resolve) => this.answers.push(resolve));
  };

  async asked(count: number): Promise<void> {
    await turnsUntil(`${count} are asked`, () => this.requests.length >= count);
  }

  answer(index: number, isAllowed: boolean): void {
    this.answers[index](isAllowed);
  }
}

/** Binds an echo that notes its sockets. */
function bindEcho(address = 'echo', options: Parameters<Node['bind']>[1] = undefined): Socket[] {
  const sockets: Socket[] = [];
  node.bind(address, options as object, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  return sockets;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  peer.session.close();
  await node.close();
  await nothingLeft();
});

describe('a circuit that comes in', () => {
  it('is accepted when it is allowed, and refused with the reason when it is not', async () => {
    await meet({ allow: [{ service: 'echo' }] });
    const sockets = bindEcho();
    bindEcho('admin');
    const allowed = open({}, 'hello');
    expect(await replyOn(allowed)).toMatchObject({ code: ReplyCode.ACCEPTED });
    await peer.until(() => dataOn(allowed) === 'hello');
    const denied = open({ service: 'admin' }, 'unheard');
    expect(await replyOn(denied)).toMatchObject({
      code: ReplyCode.DENIED,
      at: node.id,
      reason: 'no rule of the node allows it',
    });
    expect(sockets).toHaveLength(1);
    expect(node.stats().accepts).toEqual({
      accepted: 1,
      refused: 1,
      denied: 1,
      insecure: 0,
      repeated: 0,
      quantumSafe: 0,
    });
    denied.end();
    allowed.end();
  });

  it('is asked about under the name that is bound, even when it is dialled by the port alone', async () => {
    const requests: AllowRequest[] = [];
    const allow = (request: AllowRequest): boolean => {
      requests.push(request);
      return request.service !== 'admin';
    };
    await meet({ allow });
    const admin = node.bind('admin').address();
    node.bind('web:80', (socket) => socket.end());
    node.bind(':7', (socket) => socket.end());
    const streams = [
      open({ service: '', dstPort: admin?.port }),
      open({ service: 'admin', dstPort: 9 }),
      open({ service: '', dstPort: 80 }),
      open({ service: '', dstPort: 7 }),
    ];
    const codes: number[] = [];
    for (const stream of streams) {
      codes.push((await replyOn(stream)).code);
      stream.end();
    }
    expect(codes).toEqual([ReplyCode.DENIED, ReplyCode.DENIED, ReplyCode.ACCEPTED, ReplyCode.ACCEPTED]);
    expect(requests.map(({ service, port }) => [service, port])).toEqual([
      ['admin', admin?.port],
      ['admin', 9],
      ['web', 80],
      ['', 7],
    ]);
  });

  it('is not asked about when nothing is bound there', async () => {
    const answers = new Answers();
    await meet({ allow: answers.allow });
    const stream = open();
    expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.REFUSED });
    expect(answers.requests).toEqual([]);
    stream.end();
  });

  it('over a direct link comes from a verified peer, in the envs whose names are known', async () => {
    const requests: AllowRequest[] = [];
    const allow = (request: AllowRequest): boolean => requests.push(request) > 0;
    await meet({ allow, env: ['prod', 'blue'] }, ['prod', 'else', 'other']);
    bindEcho('echo', { allow: [{ env: 'else', id: peer.identity.nodeId }] });
    const stream = open({ dstPort: 80 });
    expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.ACCEPTED });
    expect(requests).toEqual([
      {
        peer: { id: peer.identity.nodeId, name: undefined, verified: true, via: [], env: ['prod', 'else'] },
        service: 'echo',
        port: 80,
        direction: 'dial',
      },
    ]);
    stream.end();
  });

  it('through relays comes from a peer that is not verified, unless it proves its identity', async () => {
    const requests: AllowRequest[] = [];
    const allow = (request: AllowRequest): boolean => requests.push(request) > 0;
    await meet({ allow, env: 'prod' }, ['prod']);
    for (const [service, rule] of [
      ['by-id', { id: 'AAAAAAAAAAA' }],
      ['by-env', { env: 'prod' }],
      ['open', { service: 'open' }],
    ] as const) {
      bindEcho(service, { allow: [rule] });
    }
    const codes: number[] = [];
    for (const service of ['by-id', 'by-env', 'open']) {
      const stream = passOn({ service, env: envDigests(['prod'])[0], circuitId: Buffer.alloc(16, service) });
      codes.push((await replyOn(stream)).code);
      stream.end();
    }
    expect(codes).toEqual([ReplyCode.DENIED, ReplyCode.DENIED, ReplyCode.ACCEPTED]);
    expect(requests[0].peer).toEqual({
      id: 'AAAAAAAAAAA',
      name: undefined,
      verified: false,
      via: [peer.identity.nodeId, 'BBBBBBBBBBA'],
      env: ['prod'],
    });
  });

  it('is refused when either the node or the server does not allow it', async () => {
    await meet({ allow: ({ port }) => port !== 2 });
    bindEcho('echo:1');
    bindEcho('echo:2');
    bindEcho('echo:3', { allow: () => false });
    const reasons: string[] = [];
    for (const dstPort of [1, 2, 3]) {
      const stream = open({ dstPort });
      reasons.push((await replyOn(stream)).reason);
      stream.end();
    }
    expect(reasons).toEqual(['', 'the node does not allow it', 'the server does not allow it']);
  });
});

describe('while the answer of allow is awaited', () => {
  const caught = catchErrorsOfTicks();
  let answers: Answers;
  beforeEach(() => {
    answers = new Answers();
  });

  it('nothing reaches the server; then everything does, in order and with its end', async () => {
    await meet({ allow: answers.allow });
    const sockets = bindEcho();
    const stream = open({}, 'a');
    await answers.asked(1);
    for (const part of ['b', 'c'.repeat(1000), 'd']) {
      stream.write(Buffer.from(part));
      await turn();
    }
    stream.end();
    await turn();
    expect([sockets.length, peer.received(stream).length]).toEqual([0, 0]);
    answers.answer(0, true);
    expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.ACCEPTED });
    await peer.until(() => peer.fate(stream) === 'ended');
    expect(dataOn(stream)).toBe(`ab${'c'.repeat(1000)}d`);
    expect(sockets).toHaveLength(1);
  });

  it('no data is lost when a listener throws', async () => {
    await meet({ allow: answers.allow });
    let received = '';
    let hasEnded = false;
    node.bind('echo', (socket) => {
      socket.on('data', (chunk) => {
        received += chunk;
      });
      socket.on('end', () => {
        hasEnded = true;
      });
      throw new Error('of a listener');
    });
    const stream = open({}, 'hello');
    await answers.asked(1);
    stream.end();
    await turn();
    answers.answer(0, true);
    expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.ACCEPTED });
    await turnsUntil('the end has come', () => hasEnded);
    expect([received, caught.map(({ message }) => message)]).toEqual(['hello', ['of a listener']]);
  });

  it('a peer can send as much as the window of the stream takes, and no more', async () => {
    await meet({ allow: answers.allow });
    const sockets = bindEcho();
    const stream = open();
    const sent = Buffer.alloc(600_000, 'x');
    stream.write(sent);
    await answers.asked(1);
    await turnsUntil('the window is full', () => stream.queuedBytes < 600_000 - 262_000);
    for (let turns = 0; turns < 20; turns++) await turn();
    expect(stream.queuedBytes).toBeGreaterThan(600_000 - 262_144);
    answers.answer(0, true);
    await replyOn(stream);
    await peer.until(() => dataOn(stream).length === sent.length);
    sockets[0].destroy();
    stream.end();
  });

  it('the answer is dropped when the peer goes', async () => {
    await meet({ allow: answers.allow });
    const sockets = bindEcho();
    const stream = open({}, 'a');
    await answers.asked(1);
    stream.reset();
    await turnsUntil('the node has noticed', () => node.links()[0].streams === 0);
    answers.answer(0, true);
    await turn();
    expect([sockets.length, node.stats().accepts]).toEqual([
      0,
      { accepted: 0, refused: 0, denied: 0, insecure: 0, repeated: 0, quantumSafe: 0 },
    ]);
  });

  it('a link that is lost leaves nothing behind', async () => {
    await meet({ allow: answers.allow });
    bindEcho();
    open({}, 'a');
    passOn();
    await answers.asked(2);
    peer.session.destroy();
    await once(node, 'unlink');
  });

  it('a server that closes refuses, and so does a name that another server has by then', async () => {
    await meet({ allow: answers.allow });
    const server = node.bind('echo');
    const stream = open();
    await answers.asked(1);
    server.close();
    const sockets = bindEcho();
    answers.answer(0, true);
    expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.REFUSED });
    expect(sockets).toEqual([]);
    stream.end();
  });

  it('other circuits go on: each has its own decision', async () => {
    await meet({ allow: answers.allow });
    bindEcho();
    const [first, second, third] = [open({}, '1'), open({}, '2'), open({}, '3')];
    await answers.asked(3);
    answers.answer(2, true);
    expect(await replyOn(third)).toMatchObject({ code: ReplyCode.ACCEPTED });
    answers.answer(1, false);
    expect(await replyOn(second)).toMatchObject({ code: ReplyCode.DENIED, reason: 'the node does not allow it' });
    answers.answer(0, true);
    expect(await replyOn(first)).toMatchObject({ code: ReplyCode.ACCEPTED });
    for (const stream of [first, second, third]) stream.end();
  });

  it('at most maxPendingDecisions of one link wait, and there is room again when one is decided', async () => {
    await meet({ allow: answers.allow, maxPendingDecisions: 2 });
    bindEcho();
    const waiting = [open(), open()];
    await answers.asked(2);
    const further = open();
    expect(await replyOn(further)).toMatchObject({
      code: ReplyCode.LIMIT,
      reason: '2 circuits wait to be allowed (maxPendingDecisions)',
    });
    answers.answer(0, true);
    await replyOn(waiting[0]);
    const next = open();
    await answers.asked(3);
    waiting[1].reset();
    await turn();
    const last = open();
    await answers.asked(4);
    answers.answer(2, false);
    answers.answer(3, false);
    for (const stream of [next, last]) expect(await replyOn(stream)).toMatchObject({ code: ReplyCode.DENIED });
    for (const stream of [waiting[0], further, next, last]) stream.end();
  });

  it('the wait ends after handshakeTimeoutMs', async () => {
    await meet({ allow: answers.allow, handshakeTimeoutMs: 60 });
    const sockets = bindEcho();
    const stream = open();
    expect(await replyOn(stream)).toMatchObject({
      code: ReplyCode.DENIED,
      reason: 'the node did not decide in time',
    });
    answers.answer(0, true);
    await turn();
    expect([sockets.length, node.stats().accepts.denied]).toEqual([0, 1]);
    stream.end();
  });

  it('the wait ends when the dialler behind relays has no more time', async () => {
    await meet({ allow: answers.allow, handshakeTimeoutMs: 1_000_000 });
    bindEcho();
    const stream = passOn({ remainingMs: 60 });
    expect(await replyOn(stream)).toMatchObject({ reason: 'the node did not decide in time' });
    stream.end();
  });

  it('the stream is acknowledged: the link is not the reason for the delay', async () => {
    await meet({ allow: answers.allow });
    bindEcho();
    const stream = open();
    await answers.asked(1);
    await turnsUntil('it is acknowledged', () => stream.isAcknowledged);
    stream.reset();
  });
});

describe('what one link may open', () => {
  it('is limited by opensPerSecond: opens beyond it wait, and all are served in order', async () => {
    await meet({ opensPerSecond: 100 });
    const sockets = bindEcho();
    const streams = Array.from({ length: 130 }, () => open());
    await turnsUntil('the first ones are served', () => sockets.length >= 100);
    const last = streams.at(-1) as MuxStream;
    await turnsUntil('the last one is acknowledged', () => last.isAcknowledged);
    for (const stream of streams) expect((await replyOn(stream)).code).toBe(ReplyCode.ACCEPTED);
    expect(sockets).toHaveLength(130);
    for (const stream of streams) stream.end();
  });

  it('keeps what comes, and the end, through every wait of a circuit', async () => {
    const answers = new Answers();
    await meet({ opensPerSecond: 10, allow: answers.allow });
    const sockets = bindEcho();
    const streams = Array.from({ length: 12 }, () => open({}, 'a'));
    const last = streams.at(-1) as MuxStream;
    await answers.asked(10);
    last.write(Buffer.from('b'));
    await answers.asked(12);
    last.write(Buffer.from('c'));
    last.end();
    await turn();
    for (let index = 0; index < streams.length; index++) answers.answer(index, true);
    expect(await replyOn(last)).toMatchObject({ code: ReplyCode.ACCEPTED });
    await peer.until(() => peer.fate(last) === 'ended');
    expect([dataOn(last), sockets.length]).toEqual(['abc', 12]);
    for (const stream of streams) stream.reset();
  });

  it('ends a circuit that its peer has ended while the rate limit held it', async () => {
    await meet({ opensPerSecond: 10 });
    bindEcho();
    const streams = Array.from({ length: 12 }, () => open({}, 'a'));
    const last = streams.at(-1) as MuxStream;
    last.end();
    await peer.until(() => peer.fate(last) === 'ended');
    expect(dataOn(last)).toBe('a');
    for (const stream of streams) stream.reset();
  });

  it('is refused with the name of the limit when it would wait for more than two seconds', async () => {
    await meet({ opensPerSecond: 3 });
    bindEcho();
    const streams = Array.from({ length: 30 }, () => open());
    expect(await replyOn(streams[29] as MuxStream)).toMatchObject({
      code: ReplyCode.LIMIT,
      reason: expect.stringMatching(/^more than 3 opens a second \(opensPerSecond\), and \d wait$/),
    });
    for (const stream of streams) stream.reset();
  });
});
