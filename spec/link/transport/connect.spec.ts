import { once } from 'node:events';
import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseLinkAddress } from '../../../lib/address.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import { connect, type Transport } from '../../../lib/link/transport/connect.js';
import { type ListenOptions, listen, type TransportListener } from '../../../lib/link/transport/listen.js';
import { isLoopback } from '../../../lib/link/transport/loopback.js';
import { PendingConnections } from '../../../lib/link/transport/pending-connections.js';
import { LinkTls, type TlsFacts } from '../../../lib/link/transport/tls.js';
import type { TlsFiles } from '../../../lib/options/options.js';
import { sharedTimers, Timers } from '../../../lib/util/timers.js';
import { certificateFor, memberTls, strangerTls } from '../../support/certificates.js';
import { FakeClock } from '../../support/fake-clock.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { socketPath } from '../../support/testnet.js';

const TIMEOUT_MS = 10_000;

/** A listener that notes who came. */
class Reception {
  readonly arrived: Duplex[] = [];
  readonly remotes: string[] = [];
  readonly refused: Error[] = [];
  readonly facts: Array<TlsFacts | undefined> = [];
  readonly pending: PendingConnections;
  listener!: TransportListener;
  private waiting: Array<() => void> = [];

  constructor(maxPending = 8) {
    this.pending = new PendingConnections(maxPending, sharedTimers);
  }

  async open(address: string, options: Partial<ListenOptions> = {}): Promise<this> {
    this.listener = await listen(parseLinkAddress(address), {
      timeoutMs: TIMEOUT_MS,
      pendingConnections: this.pending,
      onConnection: (_connection, duplex, remote, tls) => {
        duplex.on('error', () => {});
        this.arrived.push(duplex);
        this.remotes.push(remote);
        this.facts.push(tls);
        this.wake();
      },
      onRefused: (_remote, error) => {
        this.refused.push(error);
        this.wake();
      },
      onError: () => {},
      ...options,
    });
    return this;
  }

  /** The next thing has happened. */
  next(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async close(): Promise<void> {
    for (const duplex of this.arrived) duplex.destroy();
    await this.listener.close();
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

/** What a node with these certificates brings to tls. */
function using(files: TlsFiles): LinkTls {
  return new LinkTls(files, createIdentity());
}

function connected(address: string, tls?: LinkTls): Promise<Transport> {
  return connect(parseLinkAddress(address), { tls, timeoutMs: TIMEOUT_MS });
}

async function dial(address: string, tls?: LinkTls): Promise<Duplex> {
  return (await connected(address, tls)).duplex;
}

beforeEach(() => watchHandles());
afterEach(() => nothingLeft());

describe('listening', () => {
  it.each(['tcp://0.0.0.0:0', 'tcp://[::]:0', ':0', 'tcp://192.0.2.1:0', 'tcp://some.example:0'])(
    'refuses plain tcp at %s',
    async (address) => {
      await expect(new Reception().open(address)).rejects.toMatchObject({ code: 'ERR_STARLANE_INSECURE' });
    },
  );

  it('listens beyond loopback with insecure: true', async () => {
    const reception = await new Reception().open('tcp://0.0.0.0:0', { insecure: true });
    expect(reception.listener.address).toMatch(/^tcp:\/\/0\.0\.0\.0:[1-9]\d*$/);
    await reception.close();
  });

  it('listens beyond loopback with tls', async () => {
    const reception = await new Reception().open('tls://0.0.0.0:0', { tls: using(await memberTls()) });
    await reception.close();
  });

  it('asks for a certificate before it listens or connects with tls', async () => {
    const refusal = { code: 'ERR_STARLANE_OPTION' };
    await expect(new Reception().open('tls://127.0.0.1:0')).rejects.toMatchObject(refusal);
    await expect(dial('tls://127.0.0.1:1')).rejects.toMatchObject(refusal);
  });

  it('rejects for a port that is taken', async () => {
    const reception = await new Reception().open('tcp://127.0.0.1:0');
    await expect(new Reception().open(reception.listener.address)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await reception.close();
  });

  it('stops at once on close, though connections stay', async () => {
    const reception = await new Reception().open('tcp://127.0.0.1:0');
    const arrival = reception.next();
    const near = await dial(reception.listener.address);
    await arrival;
    await reception.listener.close();
    await expect(dial(reception.listener.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(near.destroyed).toBe(false);
    near.destroy();
    await reception.close();
  });

  it.each([
    ['127.0.0.1', true],
    ['127.8.8.8', true],
    ['localhost', true],
    ['::1', true],
    ['0:0:0:0:0:0:0:1', true],
    ['::ffff:127.0.0.1', true],
    ['::', false],
    ['::11', false],
    ['1::1', false],
    ['0.0.0.0', false],
    ['10.0.0.1', false],
    ['127.0.0.1.example', false],
    ['localhost.example', false],
    [undefined, false],
  ])('takes %s for loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});

describe('unix sockets', () => {
  it('take the place of a socket that a dead process has left', async () => {
    const path = socketPath();
    const dying = createServer().listen(`${path}.dying`);
    await once(dying, 'listening');
    linkSync(`${path}.dying`, path); // Its own name goes with it, as it would not have in a crash; this one stays.
    await new Promise((resolve) => dying.close(resolve));

    const reception = await new Reception().open(`unix:${path}`);
    const arrival = reception.next();
    const near = await dial(`unix:${path}`);
    await arrival;
    expect(reception.remotes).toEqual([`unix:${path}`]);
    near.destroy();
    await reception.close();
  });

  it('leave a socket alone that is answered', async () => {
    const path = socketPath();
    const reception = await new Reception().open(`unix:${path}`);
    await expect(new Reception().open(`unix:${path}`)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await reception.close();
  });

  it('leave a file alone that is no socket', async () => {
    const path = socketPath();
    writeFileSync(path, 'precious');
    await expect(new Reception().open(`unix:${path}`)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    rmSync(path);
  });
});

describe('connecting', () => {
  it('reports a refusal as Node does', async () => {
    const { port } = await freePort();
    await expect(dial(`tcp://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect' });
  });

  it('ends with the reason of its signal, before and during', async () => {
    const reason = new Error('changed my mind');
    const address = parseLinkAddress('tcp://127.0.0.1:1');
    const before = connect(address, { timeoutMs: TIMEOUT_MS, signal: AbortSignal.abort(reason) });
    await expect(before).rejects.toBe(reason);
    const aborter = new AbortController();
    const during = connect(address, { timeoutMs: TIMEOUT_MS, signal: aborter.signal });
    aborter.abort(reason);
    await expect(during).rejects.toBe(reason);
  });

  it('gives up on a tls server that sends nothing', async () => {
    const clock = new FakeClock();
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const accepted = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    const attempt = connect(parseLinkAddress(`tls://127.0.0.1:${port}`), {
      tls: using(await memberTls()),
      timeoutMs: 500,
      timers: new Timers(clock),
    });
    const outcome = expect(attempt).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    const [socket] = (await accepted) as [Socket];
    clock.advance(1000);
    await outcome;
    socket.destroy();
    silent.close();
  });
});

describe('tls', () => {
  it('connects members', async () => {
    const tls = using(await memberTls());
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
    const arrival = reception.next();
    const near = await dial(reception.listener.address, tls);
    await arrival;
    expect(reception.remotes[0]).toMatch(/^tls:\/\/127\.0\.0\.1:\d+$/);
    near.destroy();
    await reception.close();
  });

  it('gives both ends of a session the same binding, and those of another one another', async () => {
    const tls = using(await memberTls());
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
    for (let count = 0; count < 2; count++) {
      const arrival = reception.next();
      const near = await connected(reception.listener.address, tls);
      await arrival;
      expect(near.tls?.binding).toHaveLength(32);
      expect(near.tls).toEqual(reception.facts[count]);
      expect(near.tls).toMatchObject({ fault: undefined, peerName: 'member', certificateKey: undefined });
      near.duplex.destroy();
    }
    expect(reception.facts[0]?.binding).not.toEqual(reception.facts[1]?.binding);
    await reception.close();
  });

  it.each<[string, () => Promise<[LinkTls, LinkTls]>, string, 'server' | 'client']>([
    [
      'a server that the own authority has not signed',
      async () => [using(await strangerTls()), using({ ...(await memberTls()), ca: (await memberTls()).cert })],
      'CERT',
      'client',
    ],
    [
      'a client that the own authority has not signed',
      async () => [using(await memberTls()), using({ ...(await strangerTls()), ca: (await memberTls()).cert })],
      'CERT',
      'server',
    ],
    [
      'a server whose certificate is for another host',
      async () => {
        const elsewhere = await certificateFor('elsewhere.example');
        return [using({ ...elsewhere, ca: elsewhere.cert }), using({ ...elsewhere, ca: elsewhere.cert })];
      },
      'ALTNAME',
      'client',
    ],
    [
      'a server of a PKI, where this node has none',
      async () => [using(await memberTls()), new LinkTls(undefined, createIdentity())],
      'identity',
      'client',
    ],
  ])('finds fault with %s', async (_whom, made, why, finder) => {
    const [server, client] = await made();
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: server });
    const arrival = reception.next();
    const near = await connected(reception.listener.address, client);
    await arrival;
    const facts = finder === 'client' ? near.tls : reception.facts[0];
    expect(facts?.fault?.error).toMatchObject({
      code: 'ERR_STARLANE_TLS',
      message: expect.stringContaining(why),
    });
    expect(facts?.peerName).toBeUndefined();
    near.duplex.destroy();
    await reception.close();
  });

  it('shows the key of an identity where there is no PKI', async () => {
    const [one, other] = [createIdentity(), createIdentity()];
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: new LinkTls(undefined, one) });
    const arrival = reception.next();
    const near = await connected(reception.listener.address, new LinkTls(undefined, other));
    await arrival;
    expect(near.tls).toMatchObject({ certificateKey: one.publicKey, fault: undefined, peerName: undefined });
    expect(reception.facts[0]).toMatchObject({
      certificateKey: other.publicKey,
      fault: undefined,
      peerName: undefined,
    });
    near.duplex.destroy();
    await reception.close();
  });

  it('finds fault with a client that shows no certificate, or means another protocol', async () => {
    const tls = using(await memberTls());
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
    const { port } = parseLinkAddress(reception.listener.address);
    const ca = (await memberTls()).ca as string;
    for (const ALPNProtocols of [['starlane/1'], []]) {
      const arrival = reception.next();
      const near = connectTls({ host: '127.0.0.1', port, ca, ALPNProtocols }).on('error', () => {});
      await arrival;
      near.destroy();
    }
    expect(reception.facts.map((facts) => facts?.fault?.error.message)).toEqual([
      expect.stringContaining('no certificate'),
      expect.stringContaining('Starlane'),
    ]);
    await reception.close();
  });

  it('resumes no session', async () => {
    const tls = using(await memberTls());
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
    const { port } = parseLinkAddress(reception.listener.address);
    const { cert, key, ca } = (await memberTls()) as { cert: string; key: string; ca: string };
    const options = { host: '127.0.0.1', port, cert, key, ca, ALPNProtocols: ['starlane/1'] };
    const first = connectTls(options);
    first.resume();
    const [session] = await Promise.race([
      once(first, 'session'),
      once(first, 'secureConnect').then(() => [undefined]),
    ]);
    const second = connectTls({ ...options, session: session ?? first.getSession() });
    await once(second, 'secureConnect');
    expect(second.isSessionReused()).toBe(false);
    first.destroy();
    second.destroy();
    await reception.close();
  });

  it('speaks no version before 1.3', async () => {
    const tls = await memberTls();
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: using(tls) });
    const turnedAway = reception.next();
    const { port } = parseLinkAddress(reception.listener.address);
    const old = connectTls({
      host: '127.0.0.1',
      port,
      cert: tls.cert,
      key: tls.key,
      ca: tls.ca as string,
      maxVersion: 'TLSv1.2',
    });
    await once(old, 'error');
    await turnedAway;
    expect(reception.refused).toHaveLength(1);
    await reception.close();
  });

  it('closes one connection too many in the middle of its handshake, and those that are left on close', async () => {
    const reception = await new Reception(2).open('tls://127.0.0.1:0', { tls: using(await memberTls()) });
    const { port } = parseLinkAddress(reception.listener.address);
    const idle: Socket[] = [];
    const closes: Array<Promise<unknown>> = [];
    for (let count = 0; count < 3; count++) {
      const socket = connectTcp(port as number, '127.0.0.1');
      socket.on('error', () => {});
      idle.push(socket);
      closes.push(once(socket, 'close'));
      await once(socket, 'connect');
    }
    await closes[2];
    expect(reception.refused).toMatchObject([{ code: 'ERR_STARLANE_LINK_LIMIT' }]);
    await reception.listener.close();
    await Promise.all(closes);
    await reception.close();
  });
});

/** A port that nobody listens at. */
async function freePort(): Promise<AddressInfo> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return address;
}
