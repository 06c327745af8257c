// What becomes of links that are up, or in the handshake, when a membership ends or is renewed. Both clocks move only when a spec says so.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Authority } from '../../lib/identity/authority.js';
import type { OwnIdentity } from '../../lib/identity/identity.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import { networkKeyOf } from '../../lib/identity/network-key.js';
import type { Link } from '../../lib/link/link.js';
import { LinkSet } from '../../lib/link/link-set.js';
import { connect } from '../../lib/link/transport/connect.js';
import { LinkTls } from '../../lib/link/transport/tls.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../lib/mux/hidden.js';
import type { MuxStream, StreamSink } from '../../lib/mux/stream/stream.js';
import { resolveNodeOptions } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import { GoodbyeCode, MessageType } from '../../lib/wire/messages.js';
import { FakeClock } from '../support/fake-clock.js';
import { newAuthority, newBook, newMember } from '../support/members.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { RawPeer } from '../support/raw-peer.js';
import { turn, turnsUntil } from '../support/turns.js';

/** OpenSSL knows no clock but the real one. */
const START_MS = Math.floor(Date.now() / 1_000) * 1_000;
const DAY_MS = 86_400_000;
const KEY = networkKeyOf(Buffer.from('a secret of more than 16 bytes'));

let clock: FakeClock;
let timers: Timers;
const sets: LinkSet[] = [];
const wallMs = (): number => START_MS + clock.now();

/** A node, as far as its links go. */
class Party {
  readonly book: MemberBook;
  readonly set: LinkSet;
  readonly tls: LinkTls;
  readonly warnings: Error[] = [];
  readonly unlinks: Array<Error | undefined> = [];
  /** Resets of streams. */
  readonly resets: Error[] = [];

  constructor(
    readonly identity: OwnIdentity,
    certificate: Buffer,
    statement: Buffer,
    authority: Authority,
    hasSecret: boolean,
  ) {
    this.book = newBook(authority, { now: wallMs, acceptsSecret: hasSecret, statements: [statement] });
    this.tls = new LinkTls(undefined, identity, {
      book: this.book,
      certificate,
      authorities: [authority.certificate],
    });
    // Nothing here may wait for the close timeout: the clock does not move.
    const options = resolveNodeOptions({ closeTimeoutMs: 60_000 });
    const self = { ...identity, role: 'peer' as const, envDigests: [] };
    this.set = new LinkSet(
      self,
      options,
      timers,
      {
        rejectReason: () => undefined,
        onLink: (link) => {
          link.acceptor = { onStream: (stream) => this.take(stream) };
          link.send({ type: MessageType.SYNCED });
        },
        onPromoted: () => {},
        onMessage: (link) => this.set.onSynced(link),
        onUnblocked: () => {},
        onUnlink: (_link, reason) => this.unlinks.push(reason),
        onWarning: (error) => this.warnings.push(error),
        onError: () => {},
        onUnlisten: () => {},
      },
      { networkKeys: hasSecret ? [KEY] : [], tls: this.tls, members: this.book },
    );
    sets.push(this.set);
  }

  /** What a stream of this node does: it counts the resets. */
  private get sink(): StreamSink {
    return {
      [kOnData]: (stream, chunk) => stream.consumed(chunk.length),
      [kOnEnd]: () => {},
      [kOnSent]: () => {},
      [kOnReset]: (_stream, error) => this.resets.push(error),
    };
  }

  private take(stream: MuxStream): void {
    stream.sink = this.sink;
    stream.accept();
  }

  open(link: Link): void {
    link.session.open(this.sink, Buffer.from('hello'));
  }

  /** The link to another party, if there is one. */
  to(other: Party): Link | undefined {
    return this.set.get(other.identity.nodeId);
  }
}

function party(authority: Authority, { hasSecret = false, lifetimeMs = 30 * DAY_MS, name = 'member' } = {}): Party {
  const { identity, certificate, statement } = newMember(authority, { lifetimeMs, name }, wallMs());
  return new Party(identity, certificate, statement, authority, hasSecret);
}

/** Two parties with a link, and a stream over it. */
async function linked(one: Party, other: Party): Promise<[Link, Link]> {
  const [near, far] = duplexPair();
  const links = await Promise.all([one.set.attach(near, true), other.set.attach(far, false)]);
  one.open(links[0]);
  await turnsUntil('the stream is there', () => links[1].streams === 1);
  return links;
}

beforeEach(() => {
  watchHandles();
  clock = new FakeClock();
  timers = new Timers(clock);
});
afterEach(async () => {
  for (const set of sets) for (const link of set.everyLink()) link.destroy();
  await Promise.all(sets.splice(0).map((set) => set.close()));
  await nothingLeft();
});

describe('a link that is up', () => {
  const authority = newAuthority();

  it('ends at once at both ends when the key of the peer is revoked, and so do its streams', async () => {
    const [one, other] = [party(authority), party(authority)];
    await linked(one, other);
    one.book.add(authority.revoke(other.identity.publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    expect(one.to(other)).toBeUndefined();
    await turnsUntil('both ends know', () => one.resets.length + other.resets.length === 2);
    expect(one.unlinks).toMatchObject([{ code: 'ERR_STARLANE_REVOKED', message: expect.stringMatching(/the peer$/) }]);
    expect(other.unlinks).toMatchObject([
      { code: 'ERR_STARLANE_REVOKED', message: expect.stringMatching(/that of this node$/) },
    ]);
    expect([one.set.unsettled, other.set.unsettled]).toEqual([0, 0]);
    for (const end of [one, other]) expect(end.warnings).toMatchObject([{ code: 'ERR_STARLANE_REVOKED' }]);
    // It does not come back.
    const [near, far] = duplexPair();
    const again = [one.set.attach(near, true), other.set.attach(far, false)].map((end) => end.catch((error) => error));
    expect(await Promise.all(again)).toMatchObject([
      { code: 'ERR_STARLANE_REVOKED' },
      { code: 'ERR_STARLANE_REVOKED' },
    ]);
  });

  it('ends at once at both ends when the certificate of the peer expires', async () => {
    const [one, other] = [party(authority), party(authority, { lifetimeMs: DAY_MS })];
    await linked(one, other);
    clock.advance(DAY_MS - 1_000);
    await turn();
    expect(one.to(other)?.isUp).toBe(true);
    clock.advance(1_010);
    await turnsUntil('both ends know', () => one.resets.length + other.resets.length === 2);
    expect(one.unlinks).toMatchObject([{ code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' }]);
    expect(other.unlinks).toMatchObject([{ code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' }]);
    expect(one.unlinks[0]?.message).toMatch(/the peer has not renewed its own in time/);
    expect(other.unlinks[0]?.message).toMatch(/this node has not renewed its own in time/);
  });

  it('stays up when a newer certificate comes by the way, and shows what that says', async () => {
    const [one, other] = [party(authority), party(authority, { lifetimeMs: DAY_MS, name: 'before' })];
    const [link] = await linked(one, other);
    expect(link.peerName).toBe('before');
    clock.advance(DAY_MS / 2);
    const renewal = { lifetimeMs: 9 * DAY_MS, name: 'after', tags: ['new'] };
    const { statement } = newMember(authority, renewal, wallMs(), other.identity);
    for (const { book } of [one, other]) book.add(statement);
    clock.advance(8 * DAY_MS);
    await turn();
    expect(link).toMatchObject({ isUp: true, peerName: 'after', peerTags: ['new'], streams: 1 });
    expect([one.unlinks, one.resets, other.unlinks, other.resets]).toEqual([[], [], [], []]);
    clock.advance(DAY_MS);
    await turnsUntil('it has expired', () => one.unlinks.length + other.unlinks.length === 2);
  });

  it('ends when the authority of the peer holds no more, unless the next one has certified the peer', async () => {
    const [one, renewed, late] = [party(authority), party(authority), party(authority)];
    await linked(one, renewed);
    await linked(one, late);
    const next = newAuthority();
    const succession = authority.succeed(next, wallMs() + DAY_MS, wallMs());
    const parties = [one, renewed, late];
    // In one second, chance would decide which certificate is the newer one.
    clock.advance(2_000);
    for (const { book } of parties) book.add(succession);
    for (const { identity } of [one, renewed]) {
      const { statement } = newMember(next, {}, wallMs(), identity);
      for (const { book } of parties) book.add(statement);
    }
    clock.advance(DAY_MS + 1_010);
    await turnsUntil('one link has ended', () => late.unlinks.length === 1);
    expect(late.unlinks).toMatchObject([{ code: 'ERR_STARLANE_CERTIFICATE_EXPIRED' }]);
    expect(one.to(renewed)?.isUp).toBe(true);
  });

  it('that a secret has made stays when the certificate of the peer ends, and ends when its key is revoked', async () => {
    const [one, other] = [
      party(authority, { hasSecret: true }),
      party(authority, { hasSecret: true, lifetimeMs: DAY_MS }),
    ];
    await linked(one, other);
    clock.advance(2 * DAY_MS);
    await turn();
    expect(one.to(other)?.isUp).toBe(true);
    const stranger = new RawPeer(true);
    stranger.networkKey = KEY;
    const link = one.set.attach(stranger.duplex, false);
    await stranger.handshake();
    expect((await link).peerName).toBeUndefined();
    for (const { publicKey } of [stranger.identity, other.identity]) {
      one.book.add(authority.revoke(publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    }
    await stranger.over();
    expect(stranger.goodbye).toBe(GoodbyeCode.REVOKED);
    await turnsUntil('the other one is gone, too', () => other.unlinks.length === 1);
    expect(other.unlinks).toMatchObject([{ code: 'ERR_STARLANE_REVOKED' }]);
  });

  it('that is closing, and waits for its streams, ends at once as well', async () => {
    const [one, other] = [party(authority), party(authority)];
    const [link] = await linked(one, other);
    link.close();
    await turn();
    expect([one.resets.length, one.set.unsettled]).toEqual([0, 1]);
    one.book.add(authority.revoke(other.identity.publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    await turnsUntil('it has ended', () => one.set.unsettled === 0 && one.resets.length === 1);
  });

  it('sends nothing more of what waits on its streams, but the goodbye', async () => {
    const one = party(authority);
    const other = newMember(authority, {}, wallMs());
    const peer = new RawPeer(true, other.identity);
    peer.certificate = other.certificate;
    const attached = one.set.attach(peer.duplex, false);
    await peer.handshake();
    const link = await attached;
    const stream = link.session.open({
      [kOnData]: () => {},
      [kOnEnd]: () => {},
      [kOnSent]: () => {},
      [kOnReset]: () => {},
    });
    stream.write(Buffer.alloc(64 * 1024, 1));
    stream.write(Buffer.alloc(1024, 2));
    one.book.add(authority.revoke(other.identity.publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.REVOKED);
    expect(peer.streams.flatMap((each) => [...peer.received(each)]).filter((byte) => byte === 2)).toEqual([]);
  });
});

describe('a link in the handshake', () => {
  const authority = newAuthority();

  it('is refused when the key of the peer is revoked before it has proved it', async () => {
    const [one, member] = [party(authority), newMember(authority, {}, wallMs())];
    const peer = new RawPeer(true, member.identity);
    peer.certificate = member.certificate;
    peer.provesItself = false;
    const link = one.set.attach(peer.duplex, false).catch((error) => error);
    peer.say(peer.hello());
    await peer.until(() => peer.hasReceived(MessageType.HELLO));
    one.book.add(authority.revoke(member.identity.publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    peer.prove();
    expect(await link).toMatchObject({ code: 'ERR_STARLANE_REVOKED' });
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.REVOKED);
    expect(peer.hasReceived(MessageType.AUTH)).toBe(false);
  });

  it('is refused when the certificate is that of another member', async () => {
    const [one, member, other] = [
      party(authority),
      newMember(authority, {}, wallMs()),
      newMember(authority, {}, wallMs()),
    ];
    const peer = new RawPeer(true, member.identity);
    peer.certificate = other.certificate;
    const link = one.set.attach(peer.duplex, false).catch((error) => error);
    peer.say(peer.hello());
    expect(await link).toMatchObject({ code: 'ERR_STARLANE_IDENTITY' });
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.IDENTITY);
    expect(peer.hasReceived(MessageType.AUTH)).toBe(false);
  });

  it('ends at once over tls, where the certificate has shown the key', async () => {
    const [one, other] = [party(authority), party(authority)];
    const listener = await one.set.listen('tls://127.0.0.1:0');
    // It has dialled, and says nothing.
    const { duplex } = await connect(one.set.parse(listener.address), { tls: other.tls, timeoutMs: 5_000, timers });
    await turnsUntil('it is there', () => one.set.unsettled === 1);
    one.book.add(authority.revoke(other.identity.publicKey, wallMs() + 60 * DAY_MS, wallMs()));
    duplex.resume();
    await once(duplex, 'close');
    expect(one.set.unsettled).toBe(0);
    expect(one.set.pendingConnections.count).toBe(0);
  });
});

describe('the certificates of tls', () => {
  it('are those of the next authority as soon as it has certified the node, and both hold during the overlap', async () => {
    const authority = newAuthority();
    const next = newAuthority();
    const [one, old] = [party(authority), party(authority)];
    const { address } = await one.set.listen('tls://127.0.0.1:0');
    const succession = authority.succeed(next, wallMs() + DAY_MS, wallMs());
    // One that has come later knows only the new one.
    const late = party(next);
    await expect(late.set.dial(late.set.parse(address), { purpose: 'join' })).rejects.toMatchObject({
      code: 'ERR_STARLANE_CERTIFICATE',
    });
    one.book.add(succession);
    clock.advance(2_000);
    const renewed = newMember(next, {}, wallMs(), one.identity);
    one.book.add(renewed.statement);
    await one.set.addAuthorities([next.certificate]);
    expect(await late.set.dial(late.set.parse(address), { purpose: 'join' })).toMatchObject({ isUp: true });
    // The other way round, the succession is not known yet.
    await expect(old.set.dial(old.set.parse(address), { purpose: 'join' })).rejects.toMatchObject({
      code: 'ERR_STARLANE_CERTIFICATE',
    });
    old.book.add(succession);
    expect(await old.set.dial(old.set.parse(address), { purpose: 'join' })).toMatchObject({ isUp: true });
    expect(one.set.size).toBe(2);
  });
});
