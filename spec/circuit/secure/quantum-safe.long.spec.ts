// Circuits through a relay between real processes, with the ML-KEM-768 of Node 24.7 and later at both ends, at one, and at none.

import { afterEach, expect, it } from '@jest/globals';
import { runProgram } from '../../support/built-lib.js';
import type { Child, Line } from '../../support/child.js';
import { newerNode } from '../../support/newer-node.js';
import { describeUnless } from '../../support/obstacle.js';

const { path: newer, obstacle } = newerNode();
const OLDER = process.execPath;
const SECRET = 'a secret that every node of this network has';

const RELAY = `
  const node = starlane.createNode({ secret: ${JSON.stringify(SECRET)} });
  const { address } = await node.listenAndServe('tls://127.0.0.1:0');
  say({ event: 'listens', address });`;

/** Shows what TLS has agreed on, and has no listener, so that no link goes around the relay. */
const member = (address: string, rest: string): string => `
  const tls = process.getBuiltinModule('node:tls');
  const { connect } = tls;
  tls.connect = (...values) => {
    const socket = connect(...values);
    socket.once('secureConnect', () => {
      const { type, name, size } = socket.getEphemeralKeyInfo() ?? {};
      say({ event: 'tls', protocol: socket.getProtocol(), cipher: socket.getCipher().name, type, name, size });
    });
    return socket;
  };
  const node = starlane.createNode({ secret: ${JSON.stringify(SECRET)} });
  node.on('warning', (error) => say({ event: 'warning', text: error.message }));
  await node.join(${JSON.stringify(address)});
  ${rest}`;

const SERVER = `
  node.bind('echo', { allowHalfOpen: true }, (socket) => {
    const { peer, secure } = socket;
    say({ event: 'accepted', secure, quantumSafe: peer.quantumSafe === true, accepts: node.stats().accepts.quantumSafe });
    socket.on('error', () => {}).pipe(socket);
  });
  say({ event: 'serves' });`;

const CLIENT = `
  const socket = node.dial('echo', { allowHalfOpen: true });
  const chunks = [];
  socket.on('error', (error) => say({ event: 'failed', text: String(error.cause ?? error) }));
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.once('connect', () => {
    const { peer, secure } = socket;
    say({ event: 'connected', secure, via: peer.via.length, quantumSafe: peer.quantumSafe === true });
  });
  socket.once('end', () => say({ event: 'echo', bytes: Buffer.concat(chunks).length, text: String(chunks[0]).slice(0, 5) }));
  socket.end('hello'.repeat(20_000));`;

describeUnless(obstacle, 'A circuit through a relay between processes', () => {
  const children: Child[] = [];

  function start(body: string, node: string): Child {
    const child = runProgram(body, [], node);
    children.push(child);
    return child;
  }

  const event = (child: Child, name: string): Promise<Line> => child.waitFor(name, (line) => line['event'] === name);

  afterEach(async () => {
    await Promise.all(children.splice(0).map((child) => child.stop()));
  });

  it.each([
    ['both ends and the relay have ML-KEM', newer, newer, newer, true],
    ['both ends have ML-KEM, and the relay has not', newer, OLDER, newer, true],
    ['only the dialler has ML-KEM', newer, OLDER, OLDER, false],
    ['only the server has ML-KEM', OLDER, OLDER, newer, false],
  ])(
    'is quantum-safe exactly where both ends have ML-KEM: %s',
    async (_what, dialler, relay, server, isQuantumSafe) => {
      const { address } = await event(start(RELAY, relay), 'listens');
      const far = start(member(address as string, SERVER), server);
      await event(far, 'serves');
      const near = start(member(address as string, CLIENT), dialler);
      // Where the specs themselves run on a newer Node, all of it is quantum-safe.
      const quantumSafe = isQuantumSafe || newer === OLDER;
      expect(await event(near, 'connected')).toMatchObject({ secure: true, via: 1, quantumSafe });
      expect(await event(near, 'echo')).toMatchObject({ bytes: 100_000, text: 'hello' });
      expect(await event(far, 'accepted')).toMatchObject({ secure: true, quantumSafe });
      // TLS between two nodes agrees on its keys by itself.
      const name = relay === newer && dialler === newer ? 'X25519MLKEM768' : 'X25519';
      expect(await event(near, 'tls')).toMatchObject({ protocol: 'TLSv1.3', name });
    },
  );
});
