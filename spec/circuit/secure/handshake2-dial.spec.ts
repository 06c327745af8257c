// Dials in handshake 2, over relays that are honest and over such that are not: what is signed, replayed, late, and agreed with ML-KEM.
// A fake KEM takes the place of ML-KEM, which Node 20 does not have; quantum-safe.spec.ts uses the real one.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { CircuitSecurity } from '../../../lib/circuit/secure/security.js';
import type { AllowRequest, Node, Socket } from '../../../lib/index.js';
import { kOnData, kOnEnd, kOnReset, kOnSent, kRemote } from '../../../lib/mux/hidden.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { CIRCUIT_PROOF_BYTES, CircuitAbility, readProof, readTerms } from '../../../lib/wire/circuit-proof.js';
import { encodeOpen, type Open } from '../../../lib/wire/open.js';
import { type ReadReply, ReplyCode, tryReadReply } from '../../../lib/wire/open-reply.js';
import { within } from '../../support/deadline.js';
import { corrupt, type Towards } from '../../support/evil-relay.js';
import { fakeKem } from '../../support/fake-kem.js';
import { pattern } from '../../support/frames.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { circuitsOf, RelayNet } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const SECRET = { secret: 'the secret of a network' };
const LINE: Array<[number, number]> = [
  [0, 1],
  [1, 2],
];
const PORT = 7;

let net: RelayNet;
let accepted: Socket[];
/** What `allow` of the last node was asked. */
let asked: AllowRequest[];
let warnings: string[];

type Setup = ConstructorParameters<typeof CircuitSecurity>[0];

function setupOf(node: Node): Setup {
  return Reflect.get(circuitsOf(node).security, 'setup');
}

async function shape(edges: Array<[number, number]> = LINE, options: object = SECRET): Promise<void> {
  net = await RelayNet.of(edges, { node: { handshakeTimeoutMs: 200, ...options } });
  await net.settled();
  accepted = [];
  asked = [];
  warnings = [];
  const allow = (request: AllowRequest): boolean => {
    asked.push(request);
    return true;
  };
  net.last.bind(`echo:${PORT}`, { allowHalfOpen: true, allow }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  net.last.on('warning', (error) => warnings.push((error.cause as Error).message.replace(/^.*?: /, '')));
}

/** A line with so many relays, whose nodes all have a KEM. */
async function hybridLine(relays: number): Promise<void> {
  await shape(Array.from({ length: relays + 1 }, (_, index) => [index, index + 1]));
  for (const node of net.nodes) {
    Object.assign(setupOf(node), {
      kem: fakeKem,
      abilitiesOf: () => CircuitAbility.HANDSHAKE_2 | CircuitAbility.HYBRID,
    });
  }
}

function dial(options: object = {}): Socket {
  const socket = net.first.dial(`@${net.last.id}:${PORT}`, { allowHalfOpen: true, ...options });
  socket.on('error', () => {});
  return socket;
}

async function echoed(socket: Socket, bytes: Buffer = Buffer.from('hello')): Promise<boolean> {
  socket.end(bytes);
  return (await within('the echo', readToEnd(socket))).equals(bytes);
}

/** The code of a dial that fails, and the text of its cause. */
async function fault(socket: Socket): Promise<string> {
  const [error] = await within('a failure', once(socket, 'error'));
  const { code, cause } = error as NodeJS.ErrnoException & { cause?: NodeJS.ErrnoException };
  return `${code} ${cause?.code}: ${cause?.message.replace(/^.*?: /, '').replaceAll(net.last.id, 'DST')}`;
}

/** Copies of the OPENs that pass a node. */
function opensAt(index: number): Open[] {
  const opens: Open[] = [];
  corrupt(net.relay(index), {
    open: (open) => {
      const proof = open.proof === undefined ? undefined : Buffer.from(open.proof);
      opens.push({ ...open, circuitId: Buffer.from(open.circuitId), proof });
      return open;
    },
  });
  return opens;
}

/** The reply when the node `index` sends an OPEN to the last one that is not its own. */
function replay(index: number, open: Open): Promise<ReadReply> {
  const hop = net.relay(index).hop(net.last.id);
  const bytes = encodeOpen({ ...open, visited: [net.nodes[index].id], relays: 1, remainingMs: 1000 });
  return within(
    'a reply',
    new Promise((resolve, reject) => {
      const sink: StreamSink = {
        [kOnData]: (stream, chunk) => {
          stream.consumed(chunk.length);
          resolve((tryReadReply(chunk) as { reply: ReadReply }).reply);
          stream.reset();
        },
        [kOnEnd]: () => {},
        [kOnSent]: () => {},
        [kOnReset]: (_stream, error) => reject(error),
      };
      const stream = hop?.open(sink, bytes) as MuxStream;
      stream.useRelayWindow();
    }),
  );
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

describe('A dial to a node that can do handshake 2', () => {
  it('uses it, as the record of that node says', async () => {
    await shape();
    const opens = opensAt(1);
    expect(await echoed(dial())).toBe(true);
    const { mode, signedAtS } = readTerms(readProof(opens[0].proof as Buffer).terms) as {
      mode: number;
      signedAtS: number;
    };
    expect(mode & 1).toBe(1);
    expect(Math.abs(signedAtS - Date.now() / 1000)).toBeLessThan(60);
  });

  it('uses it over a link as well, as the handshake of the link says', async () => {
    await shape([[0, 1]]);
    const proofs: Uint8Array[] = [];
    const { security } = circuitsOf(net.last);
    const verify = security.verifyOpen.bind(security);
    security.verifyOpen = (open) => {
      proofs.push(Buffer.from(open.proof as Uint8Array));
      return verify(open);
    };
    setupOf(net.first).publicKeyOf = (id) =>
      id === net.last.id ? Reflect.get(net.last, 'identity').publicKey : undefined;
    expect(await echoed(dial({ secure: true }))).toBe(true);
    expect(readProof(proofs[0]).terms).toHaveLength(6);
  });

  it('does not fall back when a relay takes away what handshake 1 does not have', async () => {
    await shape();
    corrupt(net.relay(1), {
      open: (open) => ({ ...open, proof: (open.proof as Buffer).subarray(0, CIRCUIT_PROOF_BYTES + 5) }),
    });
    expect(await fault(dial())).toContain('EHOSTUNREACH ERR_STARLANE_SECURE');
    expect([accepted.length, asked.length]).toEqual([0, 0]);
  });
});

describe('Nodes that know only handshake 1', () => {
  it.each([
    ['dial', 0],
    ['are dialled by', 2],
  ])('%s those that know both', async (_what, earlier) => {
    await shape();
    // The earlier one says and knows nothing of handshake 2; what it writes is that of the earlier version, byte by byte.
    const dialler = setupOf(net.first);
    const { abilitiesOf } = dialler;
    dialler.abilitiesOf = (id) => (earlier === 0 || id === net.nodes[earlier].id ? 0 : (abilitiesOf?.(id) ?? 0));
    const opens = opensAt(1);
    const socket = dial();
    expect(await echoed(socket)).toBe(true);
    expect([opens[0].proof?.length, socket.secure]).toEqual([CIRCUIT_PROOF_BYTES + 5, true]);
  });
});

describe('A circuit of nodes that have ML-KEM', () => {
  it.each([0, 1, 3])('is quantum-safe over %d relays, and carries bytes both ways', async (relays) => {
    await hybridLine(relays);
    const socket = dial({ secure: true });
    await within('a connection', once(socket, 'connect'));
    expect(socket).toMatchObject({ secure: true, verified: true, peer: { quantumSafe: true } });
    expect(await echoed(socket, pattern(300_000))).toBe(true);
    expect(accepted[0].peer?.quantumSafe).toBe(true);
    expect(net.first.stats().dials.quantumSafe).toBe(1);
    expect(net.last.stats().accepts).toMatchObject({ accepted: 1, quantumSafe: 1 });
  });

  it('is so wherever its bytes are cut on their way', async () => {
    await hybridLine(1);
    corrupt(net.relay(1), {
      data: (chunk) => Array.from({ length: Math.ceil(chunk.length / 7) }, (_, n) => chunk.subarray(7 * n, 7 * n + 7)),
    });
    const socket = dial();
    expect(await echoed(socket, pattern(10_000))).toBe(true);
    expect(socket.peer?.quantumSafe).toBe(true);
  });

  it.each([
    ['the dialler', 0],
    ['the server', 2],
  ])('is secure without it when %s has none after all', async (_what, index) => {
    await hybridLine(1);
    Object.assign(setupOf(net.nodes[index]), { kem: null });
    const socket = dial();
    await within('a connection', once(socket, 'connect'));
    expect(socket.secure).toBe(true);
    expect(socket.peer).not.toHaveProperty('quantumSafe');
    expect(await echoed(socket)).toBe(true);
  });

  /** Alters a byte of what goes first in a direction, which is longer than all that follows. */
  const flips = (towards: Towards, at: number): ((chunk: Buffer, where: Towards) => Buffer[]) => {
    return (chunk, where) => {
      if (where === towards && chunk.length > 1000) chunk[at] ^= 1;
      return [chunk];
    };
  };

  it.each([0, 1183])('is refused by the dialler when a relay alters byte %d of the key', async (at) => {
    await hybridLine(1);
    corrupt(net.relay(1), { data: flips('dialler', at) });
    expect(await fault(dial())).toMatch(/^EHOSTUNREACH ERR_STARLANE_SECURE: the reply is not what DST has signed/);
    expect(accepted).toHaveLength(0);
  });

  it.each([0, 1087])('is never seen by the server when a relay alters byte %d of the ciphertext', async (at) => {
    await hybridLine(1);
    corrupt(net.relay(1), { data: flips('server', at) });
    expect(await fault(dial())).toMatch(/^ECONNRESET ERR_STARLANE_SECURE/);
    expect([accepted.length, warnings]).toEqual([0, ['a record was altered on its way']]);
  });

  it('fails at both ends when a relay withholds a part of the ciphertext', async () => {
    await hybridLine(1);
    corrupt(net.relay(1), {
      data: (chunk, where) => (where === 'server' ? [chunk.subarray(0, 500)].slice(0, 1) : [chunk]),
    });
    expect(await fault(dial())).toMatch(/^ECONNRESET ERR_STARLANE_OPEN_TIMEOUT/);
    expect([accepted.length, warnings]).toEqual([0, ['it was not confirmed in time']]);
    expect(net.last.stats().servers.openSockets).toBe(0);
  });

  it('fails at the dialler when a relay withholds a part of the key', async () => {
    await hybridLine(1);
    corrupt(net.relay(1), { data: (chunk, where) => (where === 'dialler' ? [chunk.subarray(0, 1183)] : [chunk]) });
    expect(await fault(dial({ timeoutMs: 400 }))).toMatch(/^ETIMEDOUT|^EHOSTUNREACH/);
    expect(accepted).toHaveLength(0);
  });

  it('leaves nothing when the server closes before the ciphertext is there', async () => {
    await hybridLine(1);
    let onKey = (): void => {};
    const key = new Promise<void>((resolve) => {
      onKey = resolve;
    });
    corrupt(net.relay(1), {
      data: (chunk, where) => {
        if (where === 'dialler') onKey();
        return where === 'server' ? [] : [chunk];
      },
    });
    const failed = fault(dial());
    await key;
    await net.last.close();
    expect(await failed).toMatch(/^ECONNRESET/);
    expect(accepted).toHaveLength(0);
  });
});

describe('A replayed OPEN', () => {
  it.each([
    ['of handshake 2', {}, true],
    ['of handshake 2 that is only signed', { secure: false }, true],
    ['of handshake 1 that was confirmed', {}, false],
  ])('%s is refused before allow is asked', async (_what, options, isSecond) => {
    await shape();
    if (!isSecond) setupOf(net.first).abilitiesOf = () => 0;
    const opens = opensAt(1);
    expect(await echoed(dial(options))).toBe(true);
    const questions = asked.length;
    for (let time = 0; time < 3; time++) {
      expect(await replay(1, opens[0])).toMatchObject({
        code: ReplyCode.REPEATED,
        reason: 'the circuit was opened before',
      });
    }
    expect([accepted.length, asked.length, warnings]).toEqual([1, questions, []]);
    expect(net.last.stats().accepts.repeated).toBe(3);
  });

  it('is refused before the first one is allowed, and after it was denied', async () => {
    await shape();
    let answer: (isAllowed: boolean) => void = () => {};
    const questions: AllowRequest[] = [];
    const allow = (request: AllowRequest): Promise<boolean> => {
      questions.push(request);
      return new Promise((resolve) => {
        answer = resolve;
      });
    };
    net.last.bind(':8', { allow });
    const opens = opensAt(1);
    const failed = fault(net.first.dial(`@${net.last.id}:8`));
    await turnsUntil('allow is asked', () => questions.length === 1);
    expect((await replay(1, opens[0])).code).toBe(ReplyCode.REPEATED);
    answer(false);
    expect(await failed).toContain('EACCES');
    expect((await replay(1, opens[0])).code).toBe(ReplyCode.REPEATED);
    expect(questions).toHaveLength(1);
  });
});

describe('A circuit whose reply was lost on its way', () => {
  /** The node loses its first reply, and says that nobody has answered. */
  function lose(index: number): void {
    const { pool } = net.relay(index);
    const add = pool.add.bind(pool);
    let isFirst = true;
    pool.add = (holder) => {
      const pending = holder as unknown as {
        onCircuit(far: MuxStream): void;
        onNoCircuit(failure: object, tried: string[]): void;
      };
      if (isFirst && typeof pending.onCircuit === 'function') {
        isFirst = false;
        pending.onCircuit = (far) => {
          far.reset();
          pending.onNoCircuit({ code: ReplyCode.TIMEOUT, at: net.nodes[index].id, reason: 'lost' }, []);
        };
      }
      add(holder);
    };
  }

  it.each([
    ['encrypted', {}],
    ['only signed', { secure: false }],
  ])('is signed again for the next neighbour, if it is %s', async (_what, options) => {
    await shape([
      [0, 1],
      [0, 2],
      [1, 3],
      [2, 3],
    ]);
    const opens = [...[1, 2].map(opensAt)];
    for (const index of [1, 2]) lose(index);
    expect(await echoed(dial(options))).toBe(true);
    const ids = opens.flat().map(({ circuitId }) => Buffer.from(circuitId).toString('hex'));
    expect(ids.length).toBeGreaterThan(1);
    expect(new Set(ids).size).toBe(ids.length);
    expect(net.last.stats().accepts.repeated).toBe(0);
  });

  it('is signed again when another relay has tried the next neighbour with the same OPEN', async () => {
    //          2
    //   0 - 1 < > 4
    //          3
    await shape([
      [0, 1],
      [1, 2],
      [1, 3],
      [2, 4],
      [3, 4],
    ]);
    for (const index of [2, 3]) lose(index);
    expect(await echoed(dial())).toBe(true);
    expect(net.last.stats().accepts.repeated).toBeGreaterThan(0);
    expect(warnings.filter((text) => !text.includes('says a node'))).toEqual([]);
  });
});

describe('Clocks', () => {
  it.each([
    ['behind', -301],
    ['ahead of', 302],
  ])(
    'of which that of the dialler is %s the other by more than five minutes make a dial fail with the reason',
    async (way, offsetS) => {
      await shape();
      const now = Date.now();
      setupOf(net.last).now = () => now;
      setupOf(net.first).now = () => now + offsetS * 1000;
      for (const options of [{}, { secure: false }]) {
        const text = `the clock of the dialler is ${Math.abs(offsetS)} s ${way} that of this node (at most 300 s)`;
        expect(await fault(dial(options))).toBe(`EHOSTUNREACH ERR_STARLANE_SECURE: DST says: ${text}`);
        expect(warnings[0]).toBe(text);
      }
      expect([accepted.length, asked.length]).toEqual([0, 0]);
    },
  );

  it('that differ by less change nothing', async () => {
    await shape();
    const now = Date.now();
    setupOf(net.last).now = () => now;
    for (const offsetS of [-299, 299]) {
      setupOf(net.first).now = () => now + offsetS * 1000;
      expect(await echoed(dial())).toBe(true);
    }
  });
});

describe('A circuit in clear through a relay', () => {
  it('is signed in a network with a secret; the server knows its source, and that its content is not protected', async () => {
    await shape();
    const opens = opensAt(1);
    const socket = dial({ secure: false });
    expect(await echoed(socket)).toBe(true);
    expect(readTerms(readProof(opens[0].proof as Buffer).terms)?.mode).toBe(0);
    expect(accepted[0]).toMatchObject({ secure: false, verified: false, peer: { id: net.first.id } });
    expect(accepted[0][kRemote]).toMatchObject({ isSigned: true, isVerified: false });
    expect(asked[0].peer).toMatchObject({ id: net.first.id, verified: false });
  });

  it('is not signed where there is nothing to prove', async () => {
    await shape(LINE, {});
    const opens = opensAt(1);
    expect(await echoed(dial())).toBe(true);
    expect(opens[0].proof).toBeUndefined();
  });

  it('is refused without a signature where one is required', async () => {
    await shape();
    Object.assign(setupOf(net.last), { requiresProof: true });
    expect(await echoed(dial({ secure: false }))).toBe(true);
    corrupt(net.relay(1), { open: (open) => ({ ...open, proof: undefined }) });
    expect(await fault(dial({ secure: false }))).toBe(
      'EHOSTUNREACH ERR_STARLANE_SECURE: DST says: a circuit through relays has to be signed by its source',
    );
    expect(accepted).toHaveLength(1);
  });

  it('is refused when a relay has altered what was signed, or signs for another node', async () => {
    await shape();
    corrupt(net.relay(1), { open: (open) => ({ ...open, srcPort: 1 }) });
    expect(await fault(dial({ secure: false }))).toContain('the OPEN is not what');
    expect(net.last.stats().accepts.insecure).toBeGreaterThan(0);
    expect([accepted.length, asked.length]).toEqual([0, 0]);
  });

  it('over a link needs no signature, as the link has proved the source', async () => {
    await shape([[0, 1]]);
    Object.assign(setupOf(net.last), { requiresProof: true });
    expect(await echoed(dial({ secure: false }))).toBe(true);
    expect(accepted[0].verified).toBe(true);
  });
});
