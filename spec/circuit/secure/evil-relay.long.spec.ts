// What a relay can do to a secure circuit, and what each end sees of it.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { AcceptHandshake, offeredKeys } from '../../../lib/circuit/secure/handshake.js';
import type { CircuitSecurity } from '../../../lib/circuit/secure/security.js';
import type { Identity } from '../../../lib/identity/identity.js';
import type { Node, Socket } from '../../../lib/index.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { envDigests } from '../../../lib/wire/messages.js';
import { encodeOpen, type Open } from '../../../lib/wire/open.js';
import type { ReadReply } from '../../../lib/wire/open-reply.js';
import { within } from '../../support/deadline.js';
import { corrupt, RecordSplitter, type Towards } from '../../support/evil-relay.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { circuitsOf, RelayNet, type RelayNetOptions } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const LINE: Array<[number, number]> = [
  [0, 1],
  [1, 2],
];
/** Two ways from 0 to 3. */
const DIAMOND: Array<[number, number]> = [
  [0, 1],
  [0, 2],
  [1, 3],
  [2, 3],
];

let net: RelayNet;
/** What servers got, and what their nodes warned of. */
let accepted: Socket[];
let warnings: Error[];

async function shape(edges = LINE, options?: RelayNetOptions): Promise<void> {
  net = await RelayNet.of(edges, options);
  await net.settled();
  accepted = [];
  warnings = [];
  serve(net.last);
}

function serve(node: Node): void {
  node.bind('echo:7', { allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  node.on('warning', (error) => warnings.push(error));
}

function dial(): Socket {
  const socket = net.first.dial(`@${net.last.id}:7`, { secure: true, allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

function identityOf(node: Node): Identity {
  return Reflect.get(node, 'identity');
}

type Failure = NodeJS.ErrnoException & { cause?: NodeJS.ErrnoException };

async function failure(socket: Socket): Promise<Failure> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as Failure;
}

/** The code of net, and that of its cause with its reason. */
function told({ code, cause }: Failure): string {
  return `${code} ${cause?.code}: ${cause?.message.replace(/^.*?: /, '').replaceAll(net.last.id, 'DST')}`;
}

function warned(): string[] {
  return warnings.map((error) => {
    const { code, cause } = error as Failure;
    return `${code}: ${cause?.message.replace(/^.*?: /, '').replaceAll(net.first.id, 'SRC')}`;
  });
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

/** What becomes of the records of one direction: the first is the confirmation, if they are of the dialler. */
const CRIMES: Array<[what: string, commit: (records: Buffer[]) => Buffer[], finding: string]> = [
  [
    'alters a byte of a record',
    ([first, ...rest]) => [flipped(first, -20), ...rest],
    'a record was altered on its way',
  ],
  [
    'alters the tag of a record',
    ([first, ...rest]) => [flipped(first, -1), ...rest],
    'a record was altered on its way',
  ],
  [
    'alters the type of a record',
    ([first, ...rest]) => [flipped(first, 0), ...rest],
    'a record was altered on its way',
  ],
  ['repeats a record', ([first, ...rest]) => [first, first, ...rest], 'a record was altered on its way'],
  ['leaves out a record', ([, ...rest]) => rest, 'a record was altered on its way'],
  [
    'changes the order of records',
    ([first, second, ...rest]) => [second, first, ...rest],
    'a record was altered on its way',
  ],
  ['puts in a record of its own', (records) => [Buffer.alloc(21), ...records], 'a record of 0 bytes'],
  ['says a length that there is not', ([first, ...rest]) => [flipped(first, 1), ...rest], 'a record of'],
];

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] ^= 0x80;
  return copy;
}

describe('A relay of an open secure circuit', () => {
  /** Three records of data go each way. Those of one direction are given to `commit`, all three at once. */
  async function conspire(towards: Towards, commit: (records: Buffer[]) => Buffer[]): Promise<[Failure, Failure]> {
    await shape();
    const splitter = new RecordSplitter();
    const held: Buffer[] = [];
    let isArmed = false;
    corrupt(net.relay(1), {
      data: (chunk, where) => {
        if (where !== towards || !isArmed) return [chunk];
        held.push(...splitter.split(chunk));
        return held.length < 3 ? [] : commit(held.splice(0));
      },
    });
    const socket = dial();
    socket.write('hello');
    await within('an echo', once(socket, 'data'));
    isArmed = true;
    const ends = [failure(socket), failure(accepted[0])] as const;
    const writer = towards === 'server' ? socket : accepted[0];
    accepted[0].unpipe();
    for (const text of ['one', 'two', 'three']) {
      writer.write(text.repeat(10));
    }
    return Promise.all(ends) as Promise<[Failure, Failure]>;
  }

  for (const [what, commit, finding] of CRIMES) {
    it(`that ${what} on its way to the server is detected there, and the dialler sees it`, async () => {
      const [near, far] = await conspire('server', commit);
      expect(told(far)).toContain(`ECONNRESET ERR_STARLANE_SECURE: ${finding}`);
      expect(told(near)).toBe('ECONNRESET ERR_STARLANE_SECURE: so says a node 1 hop on');
    });

    it(`that ${what} on its way to the dialler is detected there, and the server sees it`, async () => {
      const [near, far] = await conspire('dialler', commit);
      expect(told(near)).toContain(`ECONNRESET ERR_STARLANE_SECURE: ${finding}`);
      expect(told(far)).toBe('ECONNRESET ERR_STARLANE_SECURE: so says a node 1 hop on');
    });
  }

  it('that ends it early is detected, and both ends see it', async () => {
    await shape();
    let isArmed = false;
    corrupt(net.relay(1), { cuts: (towards) => isArmed && towards === 'server' });
    const socket = dial();
    socket.write('hello');
    await within('an echo', once(socket, 'data'));
    isArmed = true;
    const ends = [failure(socket), failure(accepted[0])];
    socket.write('there is more');
    const [near, far] = await Promise.all(ends);
    expect(told(far)).toBe('ECONNRESET ERR_STARLANE_SECURE: it was cut off');
    expect(told(near)).toBe('ECONNRESET ERR_STARLANE_SECURE: so says a node 1 hop on');
  });

  it('that ends it early when the other half has ended is detected at the end that is cut', async () => {
    await shape();
    corrupt(net.relay(1), { cuts: (towards) => towards === 'dialler' });
    const server = net.last.bind(':8', { allowHalfOpen: true });
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      socket.resume().once('end', () => socket.write('not the last word'));
    });
    const socket = net.first.dial(`@${net.last.id}:8`, { secure: true, allowHalfOpen: true });
    const failed = failure(socket);
    socket.end('hello');
    expect(told(await failed)).toBe('ECONNRESET ERR_STARLANE_SECURE: it was cut off');
  });

  it('does not affect what came before its attack', async () => {
    await shape();
    const splitter = new RecordSplitter();
    let count = 0;
    corrupt(net.relay(1), {
      data: (chunk, towards) =>
        towards === 'server' ? splitter.split(chunk).map((one) => (++count === 4 ? flipped(one, -1) : one)) : [chunk],
    });
    const socket = dial();
    await once(socket, 'connect');
    const echo: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => echo.push(chunk));
    const failed = failure(socket);
    for (const text of ['one', 'two', 'three']) socket.write(text);
    await failed;
    expect(Buffer.concat(echo).toString()).toMatch(/^(one(two)?)?$/);
    expect(accepted[0].bytesRead).toBe(6);
  });
});

describe('A relay that alters the OPEN of a secure circuit', () => {
  const proofPart = (from: number): ((open: Open) => Open) => {
    return (open) => {
      const proof = Buffer.from(open.proof as Uint8Array);
      proof[from] ^= 1;
      return { ...open, proof };
    };
  };
  const FORGED = 'the OPEN is not what SRC has signed';
  const changes: Array<[what: string, change: (open: Open) => Open, finding: string]> = [
    ['the port of the source', (open) => ({ ...open, srcPort: open.srcPort + 1 }), FORGED],
    ['the port', (open) => ({ ...open, dstPort: 8 }), FORGED],
    ['the service', (open) => ({ ...open, service: 'echo', env: envDigests([])[0] }), FORGED],
    ['the circuit id', (open) => ({ ...open, circuitId: Buffer.alloc(16, 1) }), FORGED],
    ['the env', (open) => ({ ...open, env: '0011223344556677' }), FORGED],
    ['the source', (open) => ({ ...open, src: 'AAAAAAAAAAA' }), 'the key is not that of AAAAAAAAAAA'],
    ['the public key', proofPart(0), 'the key is not that of SRC'],
    ['the ephemeral key', proofPart(32), FORGED],
    ['the signature', proofPart(64), FORGED],
  ];

  it.each(changes)('%s: is refused by the server, whose node warns', async (_what, open, finding) => {
    await shape();
    net.last.bind(':8');
    corrupt(net.relay(1), { open });
    expect(told(await failure(dial()))).toBe(
      `EHOSTUNREACH ERR_STARLANE_SECURE: DST says: the end-to-end encryption of the circuit failed: ${finding.replace('SRC', net.first.id)}`,
    );
    expect(warned()[0]).toBe(`ERR_STARLANE_SECURE: ${finding}`);
    expect(accepted).toEqual([]);
  });

  it('so that it leads to another node is refused by that', async () => {
    await shape([
      [0, 1],
      [1, 2],
      [1, 3],
    ]);
    const [, , other] = net.nodes;
    serve(other);
    corrupt(net.relay(1), { open: (open) => ({ ...open, dst: other.id }) });
    const error = await failure(dial());
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_SECURE' } });
    expect(warned()[0]).toBe(`ERR_STARLANE_SECURE: the OPEN is not what SRC has signed`);
    expect(accepted).toEqual([]);
  });

  it('by removing the proof deceives the server, but not the dialler', async () => {
    await shape();
    corrupt(net.relay(1), { open: (open) => ({ ...open, proof: undefined }) });
    expect(told(await failure(dial()))).toBe('EHOSTUNREACH ERR_STARLANE_SECURE: the reply has no proof of DST');
    expect(accepted.length).toBeGreaterThan(0);
    for (const socket of accepted)
      expect([socket.secure, socket.verified, socket.bytesRead]).toEqual([false, false, 0]);
    await turnsUntil('the server knows', () => accepted.every(({ destroyed }) => destroyed));
  });

  it('in fields that relays may alter changes nothing', async () => {
    await shape();
    corrupt(net.relay(1), { open: (open) => ({ ...open, hopLimit: 3, remainingMs: 900 }) });
    const socket = dial();
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });
});

describe('A relay that alters the reply to a secure circuit', () => {
  const proofPart = (from: number): ((reply: ReadReply) => ReadReply) => {
    return (reply) => {
      const proof = Buffer.from(reply.proof as Uint8Array);
      proof[from] ^= 1;
      return { ...reply, proof };
    };
  };
  const FORGED = 'the reply is not what DST has signed';
  const changes: Array<[what: string, change: (reply: ReadReply) => ReadReply, finding: string]> = [
    ['the port', (reply) => ({ ...reply, port: 8 }), FORGED],
    ['the public key', proofPart(0), 'the key is not that of DST'],
    ['the ephemeral key', proofPart(32), FORGED],
    ['the signature', proofPart(64), FORGED],
    ['the proof, which it takes away', (reply) => ({ ...reply, proof: undefined }), 'the reply has no proof of DST'],
  ];

  it.each(changes)(
    '%s: is found out by the dialler, and the server never hears of it',
    async (_what, reply, finding) => {
      await shape();
      corrupt(net.relay(1), { reply });
      expect(told(await failure(dial()))).toBe(`EHOSTUNREACH ERR_STARLANE_SECURE: ${finding}`);
      await turnsUntil('the server warns', () => warnings.length > 0);
      expect(warned()[0]).toBe('ERR_STARLANE_SECURE: so says a node 1 hop on');
      expect(accepted).toEqual([]);
    },
  );

  it.each([
    ['its own key', true, 'the key is not that of DST'],
    ['the key of the server', false, FORGED],
  ])('and answers in place of the server with %s is detected', async (_what, isOwn, finding) => {
    await shape();
    const { sign, publicKey } = identityOf(net.nodes[1]);
    const key = identityOf(net.last).publicKey;
    let open: Open | undefined;
    corrupt(net.relay(1), {
      open: (read) => {
        open = { ...read, circuitId: Buffer.from(read.circuitId), proof: Buffer.from(read.proof as Uint8Array) };
        return read;
      },
      reply: (reply) => {
        const context = { identity: { publicKey: key, sign }, networkKeys: [], kem: undefined, checkKey: () => {} };
        const { proof } = new AcceptHandshake(open as Open, context).accept(reply.port);
        if (isOwn) proof.set(publicKey);
        return { ...reply, proof };
      },
    });
    expect(told(await failure(dial()))).toBe(`EHOSTUNREACH ERR_STARLANE_SECURE: ${finding}`);
  });
});

describe('A relay that withholds or replays something', () => {
  it('does not show the server a circuit that is not confirmed', async () => {
    await shape(LINE, { nodes: { 2: { handshakeTimeoutMs: 50 } } });
    corrupt(net.relay(1), { data: (chunk, towards) => (towards === 'server' ? [] : [chunk]) });
    const socket = dial();
    expect(told(await failure(socket))).toMatch(/^ECONNRESET ERR_STARLANE_OPEN_TIMEOUT: /);
    expect(accepted).toEqual([]);
    expect(warned()).toEqual(['ERR_STARLANE_SECURE: it was not confirmed in time']);
    expect(net.last.stats().accepts.insecure).toBe(1);
  });

  it('gains nothing by replaying an OPEN that the server has forgotten, or the records that followed', async () => {
    await shape(LINE, { nodes: { 2: { handshakeTimeoutMs: 50 } } });
    const forgetful = circuitsOf(net.last).security;
    forgetful.admit = () => undefined;
    let open: Open | undefined;
    const records: Buffer[] = [];
    corrupt(net.relay(1), {
      open: (read) => {
        open = { ...read, circuitId: Buffer.from(read.circuitId), proof: Buffer.from(read.proof as Uint8Array) };
        return read;
      },
      data: (chunk, towards) => {
        if (towards === 'server') records.push(chunk);
        return [chunk];
      },
    });
    const socket = dial();
    socket.end('hello');
    await readToEnd(socket);
    expect(accepted).toHaveLength(1);

    const hop = net.relay(1).hop(net.last.id);
    const again = encodeOpen({ ...(open as Open), visited: [net.nodes[1].id], relays: 1 });
    const replay = (...bytes: Buffer[]): Promise<Error> =>
      new Promise((resolve) => {
        const sink: StreamSink = {
          [kOnData]: (stream, chunk) => stream.consumed(chunk.length),
          [kOnEnd]: () => {},
          [kOnSent]: () => {},
          [kOnReset]: (_stream, error) => resolve(error),
        };
        const stream = hop?.open(sink, again) as MuxStream;
        stream.useRelayWindow();
        for (const part of bytes) stream.write(part);
      });
    expect(await within('a reset', replay())).toMatchObject({ code: 'ERR_STARLANE_OPEN_TIMEOUT' });
    expect(await within('a reset', replay(...records))).toMatchObject({ code: 'ERR_STARLANE_SECURE' });
    expect(accepted).toHaveLength(1);
    // The second warning is the same and is suppressed.
    expect(warned()).toEqual(['ERR_STARLANE_SECURE: it was not confirmed in time']);
    expect(net.last.stats().accepts.insecure).toBe(2);
  });

  it('can only invent circuits that prove nothing', async () => {
    await shape();
    const hop = net.relay(1).hop(net.last.id);
    const open = {
      hopLimit: 9,
      dst: net.last.id,
      dstPort: 7,
      src: net.first.id,
      srcPort: 9,
      circuitId: Buffer.alloc(16, 7),
      service: '',
      visited: [net.nodes[1].id],
      remainingMs: 1000,
      relays: 1,
    };
    const sink = { [kOnData]: () => {}, [kOnEnd]: () => {}, [kOnSent]: () => {}, [kOnReset]: () => {} };
    const stream = hop?.open(sink, encodeOpen(open)) as MuxStream;
    stream.useRelayWindow();
    await turnsUntil('the server has it', () => accepted.length === 1);
    expect(accepted[0]).toMatchObject({ verified: false, secure: false, peer: { id: net.first.id } });
    stream.reset();
  });
});

describe('A dial that a relay will not let be secure', () => {
  it('takes another way, and that relay is tried last from then on', async () => {
    await shape(DIAMOND);
    corrupt(net.relay(1), { reply: (reply) => ({ ...reply, proof: undefined }) });
    const socket = dial();
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
    expect(net.routes[0].told).toContain(`penalise ${net.nodes[1].id} ${net.last.id}`);
    const again = dial();
    await once(again, 'connect');
    expect(again.peer?.via).toEqual([net.nodes[2].id]);
    again.destroy();
  });

  it('takes another way when its OPEN was altered, and no relay penalises another for it', async () => {
    //     1 ----- 4
    //   0           3
    //     2 - 5 - 6
    await shape([
      [0, 1],
      [1, 4],
      [4, 3],
      [0, 2],
      [2, 5],
      [5, 6],
      [6, 3],
    ]);
    serve(net.nodes[3]);
    corrupt(net.relay(4), { open: (open) => ({ ...open, srcPort: 1 }) });
    const socket = net.first.dial(`@${net.nodes[3].id}:7`, { secure: true });
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
    expect(net.routes[0].told).toContain(`penalise ${net.nodes[1].id} ${net.nodes[3].id}`);
    expect(net.routes[1].told.filter((told) => told.startsWith('penalise'))).toEqual([]);
  });

  it('goes to another instance', async () => {
    await shape([
      [0, 1],
      [1, 2],
      [0, 3],
      [3, 4],
    ]);
    const service = (node: Node): void => {
      node.bind('who', (socket) => {
        socket.on('error', () => {});
        socket.end(node.id);
      });
    };
    service(net.nodes[2]);
    service(net.nodes[4]);
    await turnsUntil(
      'both are known',
      () => net.first.services().filter(({ service }) => service === 'who').length === 2,
    );
    corrupt(net.relay(1), { reply: (reply) => ({ ...reply, proof: undefined }) });
    const asked: string[] = [];
    const selector = (found: ReadonlyArray<{ nodeId: string }>) => {
      const one = found.find(({ nodeId }) => nodeId === net.nodes[2].id) ?? found[0];
      asked.push(one.nodeId);
      return one;
    };
    const socket = net.first.dial('who', { secure: true, selector: selector as never });
    expect((await readToEnd(socket)).toString()).toBe(net.nodes[4].id);
    expect(asked).toEqual([net.nodes[2].id, net.nodes[4].id]);
  });
});

describe('Ends of a secure circuit', () => {
  function setupOf(node: Node): ConstructorParameters<typeof CircuitSecurity>[0] {
    return Reflect.get(circuitsOf(node).security, 'setup');
  }

  it('that are of two networks cannot read each other', async () => {
    await shape();
    Object.assign(setupOf(net.first), { networkKeys: [Buffer.alloc(32, 1)] });
    const near = await failure(dial());
    expect(told(near)).toContain('EHOSTUNREACH ERR_STARLANE_SECURE: DST says:');
    expect(told(near)).toContain('the two nodes have no secret in common');
    expect(warned()).toEqual(['ERR_STARLANE_SECURE: the two nodes have no secret in common']);
    expect(accepted).toEqual([]);
  });

  it('cannot read each other either where a relay says that they have one in common, in handshake 1', async () => {
    await shape();
    setupOf(net.first).abilitiesOf = () => 0;
    Object.assign(setupOf(net.first), { networkKeys: [Buffer.alloc(32, 1)] });
    const keys = (setupOf(net.last).networkKeys ?? []) as Buffer[];
    corrupt(net.relay(1), {
      open: (open) => ({ ...open, proof: Buffer.concat([(open.proof as Buffer).subarray(0, 128), offeredKeys(keys)]) }),
    });
    const near = await failure(dial());
    expect(told(near)).toBe('ECONNRESET ERR_STARLANE_SECURE: so says a node 1 hop on');
    expect(warned()).toEqual(['ERR_STARLANE_SECURE: a record was altered on its way']);
    expect(accepted).toEqual([]);
  });

  it('check each other’s keys against their records', async () => {
    await shape();
    setupOf(net.first).publicKeyOf = () => Buffer.alloc(32);
    expect(told(await failure(dial()))).toContain(`the OPEN is not what ${net.first.id} has signed`);
    setupOf(net.first).abilitiesOf = () => 0;
    expect(told(await failure(dial()))).toBe(
      'EHOSTUNREACH ERR_STARLANE_SECURE: the key is not that in the record of DST',
    );
    setupOf(net.first).publicKeyOf = () => undefined;
    warnings = [];
    setupOf(net.last).publicKeyOf = () => Buffer.alloc(32);
    expect(told(await failure(dial()))).toContain('the key is not that in the record of');
    expect(net.last.stats().accepts.insecure).toBeGreaterThan(0);
  });

  it('know the keys of records', async () => {
    await shape();
    const key = setupOf(net.first).publicKeyOf(net.nodes[1].id);
    expect(key).toEqual(Reflect.get(net.nodes[1], 'identity').publicKey);
    expect(setupOf(net.first).publicKeyOf('AAAAAAAAAAA')).toBeUndefined();
  });
});
