// What a member takes from an issuer, a stranger or another member, and what it does not.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nodeIdFromPublicKey } from '../../../lib/address.js';
import { Authority, MAX_LIFETIME_MS } from '../../../lib/identity/authority.js';
import { deriveCertificate } from '../../../lib/identity/certificate.js';
import { readCredentials } from '../../../lib/identity/credentials.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import { networkIdOf } from '../../../lib/identity/member-certificate.js';
import { ENROLMENT_PROTOCOL, enrol } from '../../../lib/node/enrolment/joiner.js';
import { Membership } from '../../../lib/node/enrolment/membership.js';
import { signedRenew } from '../../../lib/node/enrolment/proof.js';
import { MAX_EXCHANGES } from '../../../lib/node/enrolment/reception.js';
import type { Socket as CircuitSocket } from '../../../lib/socket/socket.js';
import { Timers } from '../../../lib/util/timers.js';
import {
  EnrolmentType,
  encodeCertified,
  encodeRefused,
  RefusalCode,
  tryReadEnrolment,
} from '../../../lib/wire/enrolment.js';
import { decodeStatement, StatementKind } from '../../../lib/wire/statements.js';
import { encodeToken } from '../../../lib/wire/token.js';
import { duplexPair } from '../../support/duplex-pair.js';
import { FakeClock } from '../../support/fake-clock.js';
import { memberFolder } from '../../support/member-folders.js';
import { newAuthority, newBook, newMember } from '../../support/members.js';
import { turnsUntil } from '../../support/turns.js';

const HOUR_MS = 3_600_000;
const START_MS = 1_800_000_000_000;

const { privateKey } = generateKeyPairSync('ed25519');
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
const authority = new Authority(privateKey);
const issuer = newMember(authority, { name: 'issuer', rights: { issue: true } }, START_MS);
let clock: FakeClock;
let memberships: Membership[];
const nowMs = () => START_MS + clock.now();

/** Writes the key of the authority to a file. */
function authorityFileOf(): string {
  const file = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'authority.key');
  writeFileSync(file, pem, { mode: 0o600 });
  return file;
}

/** A member whose requests `answer` gets. */
function member(answer: (frame: Buffer) => Buffer, authorityFile?: string) {
  const { folder, identity, certificate } = memberFolder(authority, {
    nowMs: nowMs(),
    request: { lifetimeMs: HOUR_MS },
  });
  const credentials = readCredentials(folder);
  const own = Buffer.concat([Buffer.of(StatementKind.CERTIFICATE), certificate]);
  const book = newBook(authority, { now: nowMs, statements: [own, issuer.statement] });
  const warnings: Error[] = [];
  const membership = new Membership({
    identity,
    credentials,
    authorityFile,
    book,
    timers: new Timers(clock),
    now: nowMs,
    random: () => 0.5,
    dial: () => {
      const [near, far] = duplexPair();
      far.on('data', (chunk: Buffer) => far.end(answer(chunk)));
      return near as unknown as CircuitSocket;
    },
    isReachable: () => true,
    ownAddresses: () => ['tls://127.0.0.1:7000'],
    neighbourAddresses: () => [],
    onAuthorities: () => {},
    onWarning: (warning) => warnings.push(warning),
  });
  memberships.push(membership);
  membership.start();
  return { membership, folder, book, identity, certificate, warnings };
}

beforeEach(() => {
  clock = new FakeClock();
  memberships = [];
});
afterEach(() => {
  for (const membership of memberships) membership.close();
});

describe('A member', () => {
  it('trusts no authority that an issuer names but no statement has shown', async () => {
    const rogue = newAuthority();
    let answers = 0;
    const { folder, identity } = member(() => {
      answers++;
      return encodeCertified({
        certificate: rogue.issue({ publicKey: identity.publicKey, name: 'mine' }, nowMs()),
        authorities: [authority.certificate, rogue.certificate],
        seeds: [],
        statements: [],
      });
    });
    clock.advance(0.75 * HOUR_MS);
    // It asks again only when it has dealt with the answer.
    await turnsUntil('it asks again', () => {
      clock.advance(100);
      return answers > 1;
    });
    expect(readCredentials(folder).authorityKeys).toEqual([authority.publicKey]);
  });

  it('is answered while strangers hold all the connections for joiners', async () => {
    const file = authorityFileOf();
    const { membership, identity, certificate } = member(() => Buffer.alloc(0), file);
    for (let count = 0; count < MAX_EXCHANGES + 1; count++) {
      membership.reception.onJoiner(duplexPair()[0], 'tls://192.0.2.1:1');
    }
    const [near, far] = duplexPair();
    membership.reception.onMember(near, identity.nodeId);
    const chunks: Buffer[] = [];
    far.on('data', (chunk: Buffer) => chunks.push(chunk));
    far.write(signedRenew({ issuer: identity.nodeId, timeMs: Math.round(nowMs()), certificate }, identity));
    await turnsUntil('it is answered', () => tryReadEnrolment(Buffer.concat(chunks)) !== undefined);
    expect(tryReadEnrolment(Buffer.concat(chunks))?.message?.type).toBe(EnrolmentType.CERTIFIED);
  });

  it('is revoked for longer than an issuer that has not heard of it could certify it', () => {
    const { membership, book } = member(() => Buffer.alloc(0), authorityFileOf());
    const { identity, statement } = newMember(authority, { lifetimeMs: HOUR_MS }, nowMs());
    book.add(statement);
    membership.revoke(identity.nodeId);
    clock.advance(0.5 * HOUR_MS);
    // Elsewhere.
    const later = newMember(authority, { lifetimeMs: MAX_LIFETIME_MS / 2 }, nowMs(), identity);
    clock.advance(24 * HOUR_MS);
    book.sweep();
    expect(book.add(later.statement)).toBe('ignored');
    const [kept] = [...book.statements()].map(({ bytes }) => decodeStatement(bytes));
    expect(kept?.kind).toBe(StatementKind.REVOCATION);
  });
});

describe('A joiner', () => {
  let server: Server | undefined;
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server?.close();
  });

  it('believes nothing of its token that a server says which has not shown who it is', async () => {
    const { key, cert } = deriveCertificate(createIdentity());
    const lie = encodeRefused({
      code: RefusalCode.USED,
      at: issuer.identity.nodeId,
      timeMs: Date.now(),
      reason: 'another machine has joined with it',
    });
    const listening = createServer({ key, cert, ALPNProtocols: [ENROLMENT_PROTOCOL] }, (socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.end(lie);
    });
    server = listening;
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    const { port } = listening.address() as { port: number };
    const token = encodeToken({
      expiresAtMs: Date.now() + HOUR_MS,
      networkId: networkIdOf(authority.publicKey),
      issuer: nodeIdFromPublicKey(issuer.identity.publicKey),
      code: Buffer.alloc(16, 1),
      addresses: [`tls://127.0.0.1:${port}`],
    });
    const credentials = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'credentials');
    await expect(enrol(token, { credentials })).rejects.toMatchObject({ code: 'ERR_STARLANE_ENROLMENT' });
  });
});
