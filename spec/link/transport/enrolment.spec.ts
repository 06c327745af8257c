// Connections of machines that ask to become members: what comes before their requests.

import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { deriveCertificate } from '../../../lib/identity/certificate.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import { rawKeyOf } from '../../../lib/identity/member-certificate.js';
import { networkKeyOf } from '../../../lib/identity/network-key.js';
import { LinkSet } from '../../../lib/link/link-set.js';
import { LinkTls } from '../../../lib/link/transport/tls.js';
import { resolveNodeOptions } from '../../../lib/options/options.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { newAuthority, newBook, newMember } from '../../support/members.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { turnsUntil } from '../../support/turns.js';

const PROTOCOL = 'starlane-enrol/1';
const authority = newAuthority();

let clock: FakeClock;
let warnings: Error[];
const sets: LinkSet[] = [];
const sockets: Socket[] = [];

/** A node that listens, as far as its links go. */
async function listening(isMember: boolean, maxPendingHandshakes = 8): Promise<{ set: LinkSet; port: number }> {
  const { identity, certificate, statement } = newMember(authority);
  const members = isMember ? newBook(authority, { statements: [statement] }) : undefined;
  const authorities = [authority.certificate];
  const member = members === undefined ? undefined : { book: members, certificate, authorities };
  const set = new LinkSet(
    { ...identity, role: 'peer' as const, envDigests: [] },
    resolveNodeOptions({ maxPendingHandshakes, closeTimeoutMs: 200 }),
    new Timers(clock),
    {
      rejectReason: () => undefined,
      onLink: () => {},
      onPromoted: () => {},
      onMessage: () => {},
      onUnblocked: () => {},
      onUnlink: () => {},
      onWarning: (error) => warnings.push(error),
      onError: () => {},
      onUnlisten: () => {},
    },
    {
      networkKeys: isMember ? [] : [networkKeyOf(Buffer.from('a secret of more than 16 bytes'))],
      tls: new LinkTls(undefined, identity, member),
      members,
    },
  );
  sets.push(set);
  const listener = await set.listen('tls://127.0.0.1:0');
  return { set, port: Number(listener.address.split(':').at(-1)) };
}

/** A machine that asks; it has a key of its own, and trusts nobody yet. */
function joiner(port: number, identity = createIdentity()): TLSSocket {
  const { cert, key } = deriveCertificate(identity);
  const socket = connect({ port, host: '127.0.0.1', cert, key, ALPNProtocols: [PROTOCOL], rejectUnauthorized: false });
  socket.on('error', () => {});
  sockets.push(socket.resume());
  return socket;
}

beforeEach(() => {
  watchHandles();
  clock = new FakeClock();
  warnings = [];
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(sets.splice(0).map((set) => set.close()));
  await nothingLeft();
});

describe('a machine that asks to become a member', () => {
  it('is no link: it shows its key, sees the authority of the network, and is counted until it closes', async () => {
    const { set, port } = await listening(true);
    const seen = new Promise<[TLSSocket, string, () => void]>((resolve) => {
      set.onEnrolment = (...all) => resolve(all);
    });
    const identity = createIdentity();
    const socket = joiner(port, identity);
    const [accepted, remote, done] = await seen;
    const shown = accepted.getPeerX509Certificate();
    expect(shown && rawKeyOf(shown.publicKey)).toEqual(Buffer.from(identity.publicKey));
    expect(remote).toBe(`tls://127.0.0.1:${socket.localPort}`);
    expect(socket.getPeerCertificate(true).issuerCertificate.raw).toEqual(authority.certificate);
    expect([set.unsettled, set.pendingConnections.count]).toEqual([0, 1]);
    const data = once(socket, 'data');
    accepted.write('hello');
    expect(String(await data)).toBe('hello');
    done();
    await once(socket, 'close');
    await turnsUntil('it is gone', () => set.pendingConnections.count === 0);
    expect(warnings).toEqual([]);
  });

  it('gets no session from a node that is no member, and none while nobody answers', async () => {
    const { port } = await listening(false);
    const [error] = (await once(joiner(port), 'error')) as [Error];
    expect(error.message).toMatch(/no application protocol/i);
    const { set, port: silent } = await listening(true);
    await once(joiner(silent), 'close');
    await turnsUntil('it is gone', () => set.pendingConnections.count === 0);
  });

  it('has a deadline, and is closed with the listener', async () => {
    const { set, port } = await listening(true);
    let count = 0;
    set.onEnrolment = () => count++;
    const [slow, quick] = [joiner(port), joiner(port)];
    await turnsUntil('both are there', () => count === 2);
    clock.advance(24_000);
    expect(set.pendingConnections.count).toBe(2);
    quick.end();
    await once(quick, 'close');
    clock.advance(1_010);
    await once(slow, 'close');
    expect(warnings).toMatchObject([{ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' }]);
    const last = joiner(port);
    await turnsUntil('it is there', () => count === 3);
    for (const listener of set.listeners) await listener.close();
    await once(last, 'close');
    await turnsUntil('it is gone', () => set.pendingConnections.count === 0);
  });

  it('does not give way to connections that send nothing, and takes at most half of their room', async () => {
    const { set, port } = await listening(true, 4);
    let count = 0;
    set.onEnrolment = () => count++;
    const asking = [joiner(port), joiner(port)];
    await turnsUntil('both are there', () => count === 2);
    await once(joiner(port), 'close');
    expect(warnings).toMatchObject([{ code: 'ERR_STARLANE_LINK_LIMIT' }]);
    for (let round = 0; round < 3; round++) {
      for (let flood = 0; flood < 4; flood++) {
        const idle = connectTcp({ port, host: '127.0.0.1' }).on('error', () => {});
        sockets.push(idle.resume());
        await once(idle, 'connect');
      }
      clock.advance(2_000);
    }
    await turnsUntil('there is no more room', () => set.pendingConnections.count === 4);
    expect(asking.map(({ destroyed, readyState }) => [destroyed, readyState])).toEqual([
      [false, 'open'],
      [false, 'open'],
    ]);
  });
});
