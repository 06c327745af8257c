// ssh2: its server takes accepted sockets (`injectSocket`), its client a dialled one (option `sock`).

import { createHash, randomBytes } from 'node:crypto';
import { type EventEmitter, once } from 'node:events';
import { constants } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import ssh2, {
  type AcceptConnection,
  type Attributes,
  type ClientChannel,
  type Connection,
  type ParsedKey,
  type ServerChannel,
  type Session,
  type SFTPWrapper,
} from 'ssh2';
import { within } from '../support/deadline.js';
import { readToEnd } from '../support/testnet.js';
import { emitted } from './emitted.js';
import { randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';

const MIB = 1024 * 1024;
const { Client, Server, utils } = ssh2;
const hostKey = utils.generateKeyPairSync('ed25519');
const userKey = utils.generateKeyPairSync('ed25519');
const { STATUS_CODE } = utils.sftp;

/** The result of a call whose last argument is a callback. */
function result<T>(
  what: string,
  call: (done: (error: Error | undefined | null, value: T) => void) => unknown,
): Promise<T> {
  const answer = new Promise<T>((resolve, reject) => {
    call((error, value) => {
      if (error) reject(error);
      else resolve(value);
    });
  });
  return within(what, answer);
}

/** Runs one command: `echo`, `exit 3`, `source 1000`. */
function runCommand(command: string, channel: ServerChannel): void {
  const [verb, argument] = command.split(' ');
  channel.on('error', () => {});
  const exit = (code: number): void => {
    channel.exit(code);
    channel.end();
  };
  if (verb === 'echo') channel.pipe(channel, { end: false }).once('end', () => exit(0));
  else if (verb === 'source')
    pipeline(randomSource(Number(argument)).source, channel, { end: false }).then(() => exit(0));
  else if (verb === 'digest') {
    // Not an iteration, which would destroy the channel at the end.
    const hash = channel.pipe(createHash('sha256').setEncoding('hex'));
    hash.once('data', (digest) => channel.write(digest, () => exit(0)));
  } else {
    channel.stderr.write(`leaving with ${argument}`);
    exit(Number(argument));
  }
}

/** One file in memory. */
function serveFile(sftp: SFTPWrapper, files: Map<string, Buffer>): void {
  const handles = new Map<string, string>();
  const nameOf = (handle: Buffer): string => handles.get(handle.toString('hex')) ?? '';
  sftp.on('OPEN', (id, filename, flags) => {
    if (flags & utils.sftp.OPEN_MODE.TRUNC || !files.has(filename)) files.set(filename, Buffer.alloc(0));
    const handle = randomBytes(4);
    handles.set(handle.toString('hex'), filename);
    sftp.handle(id, handle);
  });
  sftp.on('WRITE', (id, handle, offset, data) => {
    const old = files.get(nameOf(handle)) ?? Buffer.alloc(0);
    const body =
      old.length >= offset + data.length ? old : Buffer.concat([old, Buffer.alloc(offset + data.length - old.length)]);
    data.copy(body, offset);
    files.set(nameOf(handle), body);
    sftp.status(id, STATUS_CODE.OK);
  });
  sftp.on('READ', (id, handle, offset, length) => {
    const body = files.get(nameOf(handle)) ?? Buffer.alloc(0);
    if (offset >= body.length) sftp.status(id, STATUS_CODE.EOF);
    else sftp.data(id, body.subarray(offset, offset + length));
  });
  const attributes = (name: string): Attributes => {
    return { mode: constants.S_IFREG | 0o644, uid: 0, gid: 0, size: files.get(name)?.length ?? 0, atime: 0, mtime: 0 };
  };
  sftp.on('FSTAT', (id, handle) => sftp.attrs(id, attributes(nameOf(handle))));
  sftp.on('FSETSTAT', (id) => sftp.status(id, STATUS_CODE.OK));
  sftp.on('CLOSE', (id) => sftp.status(id, STATUS_CODE.OK));
}

describe('ssh2', () => {
  const nodes = linkedNodes();
  const files = new Map<string, Buffer>();
  let connections: Connection[];
  beforeEach(() => {
    files.clear();
    connections = [];
    const server = new Server({ hostKeys: [hostKey.private] }, onClient);
    nodes.listener.bind('ssh', (socket) => server.injectSocket(socket as unknown as net.Socket));
  });

  function onClient(connection: Connection): void {
    connections.push(connection);
    connection.on('error', () => {});
    connection.on('authentication', (context) => {
      const known = utils.parseKey(userKey.public) as ParsedKey;
      const good =
        context.method === 'publickey' &&
        context.key.data.equals(known.getPublicSSH()) &&
        (context.signature === undefined ||
          known.verify(context.blob as Buffer, context.signature, context.hashAlgo) === true);
      if (good) context.accept();
      else context.reject(['publickey']);
    });
    connection.on('session', (accept: AcceptConnection<Session>) => {
      const session = accept();
      session.on('exec', (acceptExec, _reject, { command }) => runCommand(command, acceptExec()));
      session.on('sftp', (acceptSftp) => serveFile(acceptSftp(), files));
    });
    // Forwards to addresses of the system of the server.
    connection.on('tcpip', (accept, reject, { destIP, destPort }) => {
      const target = net.connect(destPort, destIP);
      target.once('error', () => reject());
      target.once('connect', () => {
        const channel = accept() as Duplex;
        channel.on('error', () => target.destroy());
        target.pipe(channel).pipe(target);
      });
    });
    connection.on('request', (accept, _reject, name, details) => {
      accept?.();
      if (name !== 'tcpip-forward') return;
      const { bindAddr, bindPort } = details as { bindAddr: string; bindPort: number };
      connection.forwardOut(bindAddr, bindPort, 'far away', 1, (error, channel) => {
        if (error === undefined) channel.end('hello from there');
      });
    });
  }

  async function connected(options: Partial<ssh2.ConnectConfig> = {}): Promise<ssh2.Client> {
    const client = new Client();
    nodes.finally(() => client.destroy());
    const ready = once(client, 'ready');
    client.connect({ sock: nodes.joiner.dial('ssh'), username: 'me', privateKey: userKey.private, ...options });
    await within('the login', ready);
    client.on('error', () => {});
    return client;
  }

  function exec(client: ssh2.Client, command: string): Promise<ClientChannel> {
    return result('exec', (done) => client.exec(command, done));
  }

  it('checks the key of the host and the key of the user', async () => {
    const hashes: string[] = [];
    const hostVerifier = (key: Buffer): boolean => hashes.push(key.toString('base64')) > 0;
    await connected({ hostVerifier });
    expect(hostKey.public).toContain(hashes[0]);
    const refused = { privateKey: hostKey.private };
    await expect(connected(refused)).rejects.toMatchObject({ level: 'client-authentication' });
    await expect(connected({ hostVerifier: () => false })).rejects.toThrow('Host denied');
  });

  it('runs commands, with output, errors and exit codes', async () => {
    const client = await connected();
    const [code, errors] = await result<[number, string]>('exit', (done) => {
      client.exec('exit 3', (_error, channel) => {
        const text = readToEnd(channel.stderr as Duplex);
        channel
          .resume()
          .once('exit', (exitCode: number) => text.then((bytes) => done(null, [exitCode, String(bytes)])));
      });
    });
    expect([code, errors]).toEqual([3, 'leaving with 3']);
    const echo = await exec(client, 'echo');
    echo.end('some words');
    expect(String(await within('the echo', readToEnd(echo)))).toBe('some words');
  });

  it('runs 100 commands at once over one socket', async () => {
    const client = await connected();
    const echoes = Array.from({ length: 100 }, async (_, number) => {
      const channel = await exec(client, 'echo');
      channel.end(`command ${number}`);
      return String(await within('the echo', readToEnd(channel)));
    });
    expect(await Promise.all(echoes)).toEqual(echoes.map((_, number) => `command ${number}`));
  });

  it('carries 16 MiB to a command and 16 MiB from one', async () => {
    const client = await connected();
    const [up, down] = [await exec(client, 'digest'), await exec(client, `source ${16 * MIB}`)];
    const { source, digest } = randomSource(16 * MIB);
    const received = readToEnd(down);
    const [answer] = await within('the upload', Promise.all([readToEnd(up), pipeline(source, up)]));
    expect(String(answer)).toBe(digest());
    expect(await within('the download', received)).toHaveLength(16 * MIB);
  });

  it('writes and reads files', async () => {
    const client = await connected();
    const sftp = await result<SFTPWrapper>('sftp', (done) => client.sftp(done));
    const body = randomBytes(4 * MIB);
    await result('write', (done) => sftp.writeFile('/file', body, (error) => done(error, undefined)));
    expect(files.get('/file')?.equals(body)).toBe(true);
    const back = await result<Buffer>('read', (done) => sftp.readFile('/file', done));
    expect(back.equals(body)).toBe(true);
  });

  it('forwards to an address of the far system', async () => {
    const target = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(target, 'listening');
    nodes.finally(() => target.close());
    const { port } = target.address() as AddressInfo;
    const client = await connected();
    const channel = await result<ClientChannel>('forward', (done) =>
      client.forwardOut('here', 1, '127.0.0.1', port, done),
    );
    const body = randomBytes(4 * MIB);
    const received = readToEnd(channel);
    channel.end(body);
    expect((await within('the echo', received)).equals(body)).toBe(true);
  });

  it('accepts what the far system forwards', async () => {
    const client = await connected();
    const greeting = new Promise<Buffer>((resolve, reject) => {
      client.once('tcp connection', (_details, accept) => readToEnd(accept()).then(resolve, reject));
    });
    await result('forward', (done) => client.forwardIn('0.0.0.0', 8000, done));
    expect(String(await within('the greeting', greeting))).toBe('hello from there');
  });

  it('emits the end of a connection at both ends', async () => {
    const client = await connected();
    const closed = Promise.all([emitted(client, 'close'), emitted(connections[0], 'close')]);
    client.end();
    await within('the closes', closed);
  });

  it('emits an error at both ends when the link is lost', async () => {
    const client = await connected();
    const channel = (await exec(client, 'echo')).resume();
    const failed = emitted<Error>(client, 'error');
    const ends: EventEmitter[] = [client, channel, connections[0]];
    const closed = Promise.all(ends.map((end) => emitted(end, 'close')));
    nodes.cut();
    expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET', level: 'client-socket' });
    await within('the closes', closed);
  });
});
