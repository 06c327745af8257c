// Secure circuits on their way to a server: their proofs are checked a few in a turn, and their diallers have to confirm.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { IncomingCircuit } from '../../../lib/circuit/accept/pending-open.js';
import { ProofQueue } from '../../../lib/circuit/secure/confirmation.js';
import { CircuitSecurity } from '../../../lib/circuit/secure/security.js';
import { createNode, type Socket } from '../../../lib/index.js';
import { kOnData, kOnEnd, kOnReset } from '../../../lib/mux/hidden.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import type { RemoteEndpoint } from '../../../lib/socket/endpoints.js';
import { envDigests } from '../../../lib/wire/messages.js';
import { encodeOpen, type Open } from '../../../lib/wire/open.js';
import { tryReadReply } from '../../../lib/wire/open-reply.js';
import { FakeClock } from '../../support/fake-clock.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { RelayNet } from '../../support/relay-net.js';
import { turn, turnsUntil } from '../../support/turns.js';

const PER_TURN = 4;

describe('The proofs of one link', () => {
  function circuitOn(rest: string): IncomingCircuit {
    const stream = { accept() {}, consumed() {} } as unknown as MuxStream;
    return new IncomingCircuit(
      stream,
      { circuitId: Buffer.alloc(16) } as unknown as Open,
      {} as RemoteEndpoint,
      true,
      Buffer.from(rest),
    );
  }

  it('are checked a few in a turn; the others wait in order, and keep what comes on their streams', () => {
    const clock = new FakeClock();
    const checked: string[] = [];
    const queue = new ProofQueue(clock, ({ received, isEnded }) => checked.push(`${received} ${isEnded}`));
    for (let count = 0; count < PER_TURN; count++) expect(queue.take()).toBe(true);
    const streams = Array.from({ length: 6 }, (_, n) => {
      expect(queue.take()).toBe(false);
      const circuit = circuitOn(`${n}`);
      queue.wait(circuit);
      return circuit.stream;
    });
    streams[4].sink[kOnData](streams[4], Buffer.from(' and more'));
    streams[5].sink[kOnEnd](streams[5]);
    clock.runImmediates();
    expect(checked).toEqual(['0 false', '1 false', '2 false', '3 false']);
    // A proof that comes now waits behind them.
    expect(queue.take()).toBe(false);
    clock.runImmediates();
    expect(checked.slice(PER_TURN)).toEqual(['4 and more false', '5 true']);
    clock.runImmediates();
    expect([queue.size, queue.take(), clock.immediatesWaiting]).toEqual([0, true, 1]);
  });

  it('are not checked when their streams are gone', () => {
    const clock = new FakeClock();
    const queue = new ProofQueue(clock, () => {
      throw new Error('it is checked');
    });
    for (let count = 0; count < PER_TURN; count++) queue.take();
    const circuit = circuitOn('');
    queue.wait(circuit);
    circuit.stream.sink[kOnReset](circuit.stream, new Error('gone'), 0);
    expect(queue.size).toBe(0);
    clock.runImmediates();
  });
});

describe('A node that is sent many proofs at once', () => {
  it('answers all of them, over many turns', async () => {
    const node = createNode({ role: 'server' });
    node.bind('echo', (socket) => socket.on('error', () => {}));
    const peer = new RawPeer(true);
    const attached = node.attach(peer.duplex, { initiator: false });
    await peer.handshake();
    await attached;
    const security = new CircuitSecurity({
      identity: peer.identity,
      networkKeys: [],
      publicKeyOf: () => undefined,
      warn: () => {},
    });
    const terms = { src: peer.identity.nodeId, srcPort: 1, dst: node.id, dstPort: 0, service: 'echo' };
    const opens = Array.from({ length: 60 }, (_, n) => {
      const full = { ...terms, env: envDigests([])[0], circuitId: Buffer.alloc(16, n) };
      return encodeOpen({ ...full, hopLimit: 8, proof: security.dial(full).proof });
    });
    const streams = opens.map((open) => peer.session.open(peer, open));
    const answers = (): number => streams.filter((one) => tryReadReply(peer.received(one))?.reply.code === 0).length;
    while (answers() === 0) await turn();
    // Two turns of the event loop in each, and one for what is on its way.
    expect(answers()).toBeLessThanOrEqual(3 * 2 * PER_TURN);
    await turnsUntil('all are answered', () => answers() === streams.length);
    peer.session.destroy();
    await node.close();
  });
});

const PORT = 7;

describe('Secure circuits that a server has no room for', () => {
  let net: RelayNet;

  beforeEach(async () => {
    watchHandles();
    // As many circuits of a link may be unconfirmed as may wait for a server.
    net = await RelayNet.line(1, { node: { acceptBacklog: 2 } });
  });

  afterEach(async () => {
    await net.close();
    await nothingLeft();
  });

  function dial(): Promise<Socket> {
    const socket = net.first.dial(`@${net.last.id}:${PORT}`, { secure: true });
    return once(
      socket.on('error', () => {}),
      'connect',
    ).then(() => socket);
  }

  it('do not count as unconfirmed any more when they are gone', async () => {
    net.last.bind(`:${PORT}`, { maxConnections: 1 });
    const first = await dial();
    for (let time = 0; time < 5; time++) await expect(dial()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    first.destroy();
    await once(first, 'close');
    await turnsUntil('the server has room', () => net.last.stats().servers.openSockets === 0);
    await dial();
  });
});
