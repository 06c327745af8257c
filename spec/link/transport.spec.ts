import { once } from 'node:events';
import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseLinkAddress } from '../../lib/address.js';
import { connect, isLoopback, type ListenOptions, listen, type TransportListener } from '../../lib/link/transport.js';
import type { TlsFiles } from '../../lib/options.js';
import { Timers } from '../../lib/util/timers.js';
import { memberTls, strangerTls } from '../support/certificates.js';
import { FakeClock } from '../support/fake-clock.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { socketPath } from '../support/testnet.js';

const TIMEOUT_MS = 10_000;

/** A listener that notes who came. */
class Reception {
  readonly arrived: Duplex[] = [];
  readonly remotes: string[] = [];
  readonly refused: Error[] = [];
  listener!: TransportListener;
  private waiting: Array<() => void> = [];

  async open(address: string, options: Partial<ListenOptions> = {}): Promise<this> {
    this.listener = await listen(parseLinkAddress(address), {
      timeoutMs: TIMEOUT_MS,
      maxPending: 8,
      onConnection: (duplex, remote) => {
        duplex.on('error', () => {});
        this.arrived.push(duplex);
        this.remotes.push(remote);
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

function dial(address: string, tls?: TlsFiles): Promise<Duplex> {
  return connect(parseLinkAddress(address), { tls, timeoutMs: TIMEOUT_MS });
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

  it('listens beyond loopback when that is said to be meant', async () => {
    const reception = await new Reception().open('tcp://0.0.0.0:0', { insecure: true });
    expect(reception.listener.address).toMatch(/^tcp:\/\/0\.0\.0\.0:[1-9]\d*$/);
    await reception.close();
  });

  it('listens beyond loopback with tls', async () => {
    const reception = await new Reception().open('tls://0.0.0.0:0', { tls: await memberTls() });
    await reception.close();
  });

  it('asks for a certificate before it listens or connects with tls', async () => {
    const refusal = { code: 'ERR_STARLANE_OPTION' };
    await expect(new Reception().open('tls://127.0.0.1:0')).rejects.toMatchObject(refusal);
    await expect(dial('tls://127.0.0.1:1')).rejects.toMatchObject(refusal);
  });

  it('tells of a port that is taken', async () => {
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

  it('gives up on a tls server that says nothing', async () => {
    const clock = new FakeClock();
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const accepted = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    const attempt = connect(parseLinkAddress(`tls://127.0.0.1:${port}`), {
      tls: await memberTls(),
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
    const tls = await memberTls();
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
    const arrival = reception.next();
    const near = await dial(reception.listener.address, tls);
    await arrival;
    expect(reception.remotes[0]).toMatch(/^tls:\/\/127\.0\.0\.1:\d+$/);
    near.destroy();
    await reception.close();
  });

  it('rejects a server that the own authority has not signed', async () => {
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: await strangerTls() });
    const turnedAway = reception.next();
    await expect(dial(reception.listener.address, await memberTls())).rejects.toMatchObject({
      code: expect.stringMatching(/CERT/),
    });
    await turnedAway;
    expect(reception.arrived).toEqual([]);
    await reception.close();
  });

  it('turns a client away that the own authority has not signed', async () => {
    const [member, stranger] = await Promise.all([memberTls(), strangerTls()]);
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: member });
    const turnedAway = reception.next();
    const near = await dial(reception.listener.address, { ...stranger, ca: member.ca });
    // In tls 1.3 a client learns of it only after its own handshake.
    const closed = new Promise((resolve) => near.once('close', resolve));
    near.on('error', () => {}).resume();
    await Promise.all([turnedAway, closed]);
    expect(reception.arrived).toEqual([]);
    expect(reception.refused).toHaveLength(1);
    await reception.close();
  });

  it('speaks no version before 1.3', async () => {
    const tls = await memberTls();
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls });
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
    const reception = await new Reception().open('tls://127.0.0.1:0', { tls: await memberTls(), maxPending: 2 });
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
