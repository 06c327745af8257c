// Certificates that are renewed while their nodes work: hours of virtual time, in which every member gets several certificates.

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, jest } from '@jest/globals';
import type { Node, Socket } from '../../lib/index.js';
import { duplexPair } from '../support/duplex-pair.js';
import { VirtualTime } from '../support/virtual-time.js';

const HOUR_MS = 3_600_000;
const HOURS = 2;
const STREAMS = 20;
/** Each stream sends one message in this time. */
const STEP_MS = 60_000;

const time = new VirtualTime(Date.now());
jest.unstable_mockModule('../../lib/util/runtime/real-timers.js', () => time.timers);

const { createNode } = await import('../../lib/index.js');
const { createNetwork, openAuthority } = await import('../../lib/members/index.js');
const { readCredentials } = await import('../../lib/identity/credentials.js');
const { memberFolder } = await import('../support/member-folders.js');

/** Returns the folders of five members, the first of which is the only issuer. */
function fiveFolders(): string[] {
  const first = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'credentials');
  createNetwork(first, { name: 'member 0', lifetimeMs: HOUR_MS });
  const authority = openAuthority(join(first, 'authority.key'));
  const others = [1, 2, 3, 4].map((index) => {
    const request = { name: `member ${index}`, lifetimeMs: HOUR_MS };
    return memberFolder(authority, { request, nowMs: time.nowMs }).folder;
  });
  return [first, ...others];
}

/** Links the nodes in a row, so that the last one is four links away from the issuer. */
async function inRow(nodes: readonly Node[]): Promise<void> {
  for (let index = 1; index < nodes.length; index++) {
    const [left, right] = duplexPair();
    await time.until(Promise.all([nodes[index - 1].attach(left), nodes[index].attach(right)]), 10_000);
  }
}

it('renews the certificates of five members in a row, over up to four links, while 40 streams lose nothing', async () => {
  const folders = fiveFolders();
  const expiries = () => folders.map((folder) => readCredentials(folder).member.notAfterMs);
  const before = expiries();
  const nodes = folders.map((credentials) => createNode({ credentials }));
  const lost: unknown[] = [];
  for (const node of nodes) {
    node.on('unlink', (_link, reason) => lost.push(reason));
    node.on('warning', (warning) => lost.push(warning));
  }
  await inRow(nodes);
  const [first, last] = [nodes[0], nodes[4]];
  last.bind('far', (socket) => socket.pipe(socket));
  first.bind('near', (socket) => socket.pipe(socket));
  await time.until(Promise.all([first.waitFor('far'), nodes[1].waitFor('near')]), 30_000);

  // From one end to the other, and one link far.
  const sockets: Socket[] = [];
  for (let index = 0; index < STREAMS; index++) sockets.push(first.dial('far'), nodes[1].dial('near'));
  const received = sockets.map(() => '');
  sockets.forEach((socket, index) => {
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      received[index] += text;
    });
    socket.on('error', (error) => lost.push(error));
    socket.on('close', () => lost.push('a stream'));
  });
  let sent = '';
  for (let step = 0; step < (HOURS * HOUR_MS) / STEP_MS; step++) {
    const message = `message ${step};`;
    sent += message;
    for (const socket of sockets) socket.write(message);
    await time.pass(STEP_MS);
  }
  expect(lost).toEqual([]);
  expect(received.every((text) => text === sent)).toBe(true);

  // Every certificate has been followed by others, and all members know the newest.
  const after = expiries();
  for (const [index, expiryMs] of after.entries()) {
    expect(expiryMs - before[index]).toBeGreaterThan((HOURS - 1) * HOUR_MS);
    expect(expiryMs).toBeGreaterThan(time.nowMs);
    for (const node of nodes) {
      expect(
        node
          .members()
          .find(({ id }) => id === nodes[index].id)
          ?.until.getTime(),
      ).toBe(expiryMs);
    }
  }
  await time.until(Promise.all(nodes.map((node) => node.close())), 60_000);
}, 120_000);
