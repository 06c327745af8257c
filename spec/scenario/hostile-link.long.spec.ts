// A member of a live mesh that abuses its link, and strangers that stall the handshake. Each time the
// others continue to serve each other, as fast as before and in as much memory, and only the attacker's link is lost.

import { describe, expect, it } from '@jest/globals';
import { CircuitSecurity } from '../../lib/circuit/secure/security.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { encodeMessage, envDigests, MessageType } from '../../lib/wire/messages.js';
import { encodeOpen, type OpenRequest } from '../../lib/wire/open.js';
import { ReplyCode, tryReadReply } from '../../lib/wire/open-reply.js';
import { AttackedMesh, LIMITS } from '../support/attacked-mesh.js';
import { data, dataHeader, ping, SYN, windowUpdate } from '../support/frames.js';
import type { HostileMember } from '../support/hostile-member.js';
import { turn, turnsUntil } from '../support/turns.js';

const scene = new AttackedMesh();
const ENV = envDigests([])[0];
/** The start of a HELLO of 200 bytes. */
const HALF_HELLO = Buffer.concat([Buffer.from('000000c801', 'hex'), Buffer.alloc(150)]);

let circuits = 0;

/** What an OPEN of that member to node 2 is about. */
function termsOf({ identity }: HostileMember) {
  const circuitId = Buffer.alloc(16);
  circuitId.writeUInt32BE(++circuits);
  return {
    src: identity.nodeId,
    srcPort: 1,
    dst: scene.mesh.nodes[2].id,
    dstPort: 0,
    circuitId,
    service: 'echo',
    env: ENV,
  };
}

function openOf(offender: HostileMember, changes: Partial<OpenRequest> = {}): Buffer {
  return encodeOpen({ ...termsOf(offender), hopLimit: 8, ...changes });
}

/** The code of the reply to what was sent on a new stream. */
async function answerTo(offender: HostileMember, bytes: Buffer): Promise<number | undefined> {
  const stream: MuxStream = offender.session.open(offender, bytes);
  await offender.until(() => tryReadReply(offender.received(stream)) !== undefined || offender.fate(stream) !== 'open');
  return tryReadReply(offender.received(stream))?.reply.code;
}

describe('A member that sends too much:', () => {
  it('endless streams are refused beyond the backlog, and dropped by the OPEN timeout', async () => {
    const offender = await scene.member();
    const { nodeId } = offender.identity;
    const syns = Buffer.concat(Array.from({ length: 20_000 }, (_, n) => windowUpdate(1_001 + 2 * n, 0, SYN)));
    await scene.keepsServing(async () => {
      offender.frames(syns);
      const streams = (): number => scene.mesh.nodes[2].links().find(({ peerId }) => peerId === nodeId)?.streams ?? 0;
      await turnsUntil('they are there', () => streams() > 0, 10_000_000);
      expect(streams()).toBeLessThanOrEqual(LIMITS.acceptBacklog);
      await turnsUntil('they are gone', () => streams() === 0, 10_000_000);
    });
    scene.isStillLinked(offender);
  });

  it('data beyond its window ends its link', async () => {
    const offender = await scene.member();
    const open = openOf(offender, { service: 'silent' });
    await scene.keepsServing(async () => {
      offender.frames(data(1_001, open, SYN), dataHeader(1_001, 300 * 1024));
      await scene.isCutOff(offender, 'ERR_STARLANE_WINDOW_OVERRUN');
    });
  });

  it('data beyond the limit of all streams resets the streams that buffer most', async () => {
    const offender = await scene.member();
    const body = Buffer.alloc(200 * 1024);
    await scene.keepsServing(async () => {
      const streams = Array.from({ length: 60 }, () =>
        offender.session.open(offender, Buffer.concat([openOf(offender, { service: 'silent' }), body])),
      );
      await turnsUntil('some are reset', () => streams.some((one) => offender.fate(one) === 'reset'), 10_000_000);
    });
    scene.isStillLinked(offender);
  });

  it('pings whose answers it does not read end its link', async () => {
    const offender = await scene.member();
    const pings = Buffer.concat(Array<Buffer>(20_000).fill(ping(5)));
    offender.socket.pause();
    await scene.keepsServing(async () => {
      while (!scene.mesh.unlinked.has(offender.identity.nodeId)) {
        if (offender.socket.writableLength < pings.length) offender.frames(pings);
        for (let turns = 0; turns < 20; turns++) await turn();
      }
    });
    expect(scene.mesh.unlinked.get(offender.identity.nodeId)).toBe('ERR_STARLANE_CONTROL_FLOOD');
  });

  it.each([
    ['a message of 4 GiB', Buffer.from('ffffffff06', 'hex')],
    [
      'a list of 65535 entries',
      encodeMessage(MessageType.ENTRIES, [Buffer.alloc(33, 0xff), Buffer.from('ffff', 'hex')]),
    ],
    ['a record of 65535 bytes', encodeMessage(MessageType.RECORDS, [Buffer.from('00000e10ffff0102', 'hex')])],
    ['65535 wanted', encodeMessage(MessageType.WANT, [Buffer.from('01ffff', 'hex')])],
  ])('%s that does not come ends its link', async (_what, bytes) => {
    const offender = await scene.member();
    await scene.keepsServing(async () => {
      offender.say(bytes);
      await scene.isCutOff(offender, 'ERR_STARLANE_MESSAGE');
    });
  });

  it('proofs of secure circuits, which take longer to check than to send, are queued', async () => {
    const offender = await scene.member();
    const { identity } = offender;
    const networkKeys = [offender.networkKey as Buffer];
    const security = new CircuitSecurity({ identity, networkKeys, publicKeyOf: () => undefined, warn: () => {} });
    const opens = Array.from({ length: 400 }, (_, n) => {
      const terms = termsOf(offender);
      return data(1_001 + 2 * n, encodeOpen({ ...terms, hopLimit: 8, proof: security.dial(terms).proof }), SYN);
    });
    const { refused } = scene.mesh.nodes[2].stats().accepts;
    await scene.keepsServing(async () => {
      offender.frames(Buffer.concat(opens));
      const isOver = (): boolean => scene.mesh.nodes[2].stats().accepts.refused > refused;
      await turnsUntil('there are too many', isOver, 10_000_000);
    });
    scene.isStillLinked(offender);
  });

  it('an OPEN that is 65535 bytes long, forged or repeated only ends its stream', async () => {
    const offender = await scene.member();
    await scene.keepsServing(async () => {
      expect(await answerTo(offender, Buffer.from('ffff01', 'hex'))).toBe(ReplyCode.MALFORMED);
      const asAnother = openOf(offender, { src: scene.mesh.nodes[0].id });
      expect(await answerTo(offender, asAnother)).toBe(ReplyCode.DENIED);
      const through = openOf(offender, { dst: scene.mesh.nodes[1].id, service: 'echo-1', remainingMs: 5_000 });
      expect(await answerTo(offender, through)).toBe(ReplyCode.ACCEPTED);
      expect(await answerTo(offender, through)).toBe(ReplyCode.LOOP);
    });
    scene.isStillLinked(offender);
  });
});

describe('A slow peer:', () => {
  it.each([
    ['says nothing', 'tcp', []],
    ['says nothing over tls', 'tls', []],
    ['begins a tls handshake', 'tls', [...Buffer.from('1603010200010001fc0303', 'hex')]],
    ['begins HELLO', 'tcp', [...data(1, HALF_HELLO, SYN)]],
  ] as const)('connects, %s, and is dropped by the handshake timeout', async (_what, scheme, bytes) => {
    await scene.keepsServing(async () => {
      const slow = await Promise.all(Array.from({ length: 4 }, () => scene.stranger(scene.mesh.addresses[2][scheme])));
      const isOver = Promise.all(slow.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
      for (const byte of bytes.slice(0, -1)) {
        for (const socket of slow) socket.write(Buffer.from([byte]));
        await turn();
      }
      await isOver;
    });
    expect(scene.mesh.warnings[2]).toContain('ERR_STARLANE_HANDSHAKE_TIMEOUT');
    // There is still room for others.
    await scene.member();
  });

  it('sends HELLO, but not the next message', async () => {
    const slow = await scene.member(2, { says: false });
    slow.provesItself = false;
    await scene.keepsServing(async () => {
      slow.say(slow.hello());
      await slow.over();
    });
    expect(scene.mesh.warnings[2]).toContain('ERR_STARLANE_HANDSHAKE_TIMEOUT');
  });

  it('only occupies limited state: half a message, half an OPEN, an idle circuit', async () => {
    const slow = await scene.member();
    await scene.keepsServing(async () => {
      slow.say(Buffer.from('0000ffff06', 'hex'));
      const idle = slow.session.open(slow, openOf(slow, { service: 'silent' }));
      const half = slow.session.open(slow, openOf(slow).subarray(0, 20));
      for (let byte = 0; slow.fate(half) === 'open'; byte++) {
        if (byte < 8) half.write(Buffer.alloc(1));
        slow.control?.write(Buffer.alloc(1));
        await slow.session.ping();
      }
      expect(slow.fate(half)).toBe('reset');
      expect(slow.fate(idle)).toBe('open');
    });
    scene.isStillLinked(slow);
  });

  it('requests echoes and reads none: the node buffers them in bounded memory, for a limited time', async () => {
    const slow = await scene.member();
    slow.socket.pause();
    const circuit = (n: number): Buffer =>
      data(1_001 + 2 * n, Buffer.concat([openOf(slow), Buffer.alloc(60 * 1024)]), SYN);
    await scene.keepsServing(async () => {
      for (let n = 0; n < 100; n++) slow.frames(circuit(n));
      await scene.whyUnlinked(slow);
    });
    expect(scene.mesh.unlinked.get(slow.identity.nodeId)).toBe('ERR_STARLANE_KEEPALIVE');
  });
});
