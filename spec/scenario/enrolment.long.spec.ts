// Each refusal of a joiner between real processes, at both ends: what the joiner throws, and what the issuer warns of.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readCredentials } from '../../lib/identity/credentials.js';
import { createNetwork } from '../../lib/members/index.js';
import { decodeToken, encodeToken, type Token } from '../../lib/wire/token.js';
import { builtUrl, runProgram } from '../support/built-lib.js';
import type { Child, Line } from '../support/child.js';

const root = mkdtempSync(join(tmpdir(), 'enrolment-processes-'));
let issuer: Child;
let requests = 0;
let joiners = 0;

const START = `
  const { createInterface } = await import('node:readline');
  const { createNode } = await import(${JSON.stringify(builtUrl('index.js'))});`;

async function ask(command: Line): Promise<Line> {
  const id = ++requests;
  issuer.send({ id, ...command });
  return issuer.waitFor(`the answer to ${command['do']}`, (line) => line['id'] === id);
}

async function invite(changes: object = {}): Promise<Token> {
  return decodeToken((await ask({ do: 'invite', options: { name: 'web', ...changes } }))['token'] as string);
}

/** What a joiner in a process of its own ends with. `aheadMs`: its clock. */
async function joined(token: string, folder = `joiner-${++joiners}`, aheadMs = 0): Promise<Line> {
  // Before the library is loaded, which keeps the clock that it finds.
  const clock = `--import=data:text/javascript,{const{now}=Date;Date.now=()=>now()+${aheadMs}}`;
  const enter = aheadMs === 0 ? [] : ['env', `NODE_OPTIONS=${clock}`];
  const child = runProgram(
    `
    const { enrol } = await import(${JSON.stringify(builtUrl('members/index.js'))});
    try {
      say(await enrol(${JSON.stringify(token)}, { credentials: ${JSON.stringify(join(root, folder))}, timeoutMs: 15_000 }));
    } catch ({ code, message }) {
      say({ code, message });
    }`,
    enter,
  );
  try {
    return await child.waitFor('an end', () => true);
  } finally {
    await child.stop();
  }
}

const warned = async (code: string): Promise<string> =>
  (await issuer.waitFor(`a warning ${code}`, ({ event, code: of }) => event === 'warning' && of === code))[
    'message'
  ] as string;

beforeAll(async () => {
  createNetwork(join(root, 'first'), { name: 'first' });
  issuer = runProgram(`${START}
    const node = createNode({ credentials: ${JSON.stringify(join(root, 'first'))} });
    node.on('warning', ({ code, message }) => say({ event: 'warning', code, message }));
    await node.listenAndServe('tls://127.0.0.1:0');
    say({ event: 'listening' });
    createInterface({ input: process.stdin }).on('line', async (text) => {
      const { id, do: what, options, who } = JSON.parse(text);
      if (what === 'invite') say({ id, token: await node.invite(options) });
      else if (what === 'revoke') say({ ...await node.revoke(who), id });
      else say({ id, members: node.members() });
    });`);
  await issuer.waitFor('an issuer', ({ event }) => event === 'listening');
});

afterAll(async () => {
  await issuer?.stop();
  rmSync(root, { recursive: true, force: true });
});

describe('A joiner in a process of its own', () => {
  it('becomes a member, and another one with the same token hears that it was used', async () => {
    const token = encodeToken(await invite());
    expect(await joined(token)).toMatchObject({ name: 'web' });
    const text = 'the token has been used: another machine has joined with it; ask for a new one';
    expect(await joined(token)).toEqual({ code: 'ERR_STARLANE_TOKEN_USED', message: text });
    expect(await warned('ERR_STARLANE_TOKEN_USED')).toContain(`${text} (asked by tls://127.0.0.1:`);
  });

  it('hears that the token has expired', async () => {
    const token = await invite();
    const old = encodeToken({ ...token, code: Buffer.alloc(16, 2), expiresAtMs: Date.now() - 120_000 });
    expect(await joined(old)).toEqual({
      code: 'ERR_STARLANE_TOKEN_EXPIRED',
      message: 'the token has expired: 2 minutes ago; ask for a new one',
    });
    expect(await warned('ERR_STARLANE_TOKEN_EXPIRED')).toMatch(/2 minutes ago/);
  });

  it('hears that nobody knows the token', async () => {
    const token = await invite();
    expect(await joined(encodeToken({ ...token, code: Buffer.alloc(16, 3) }))).toEqual({
      code: 'ERR_STARLANE_TOKEN',
      message: `the token is not valid: the issuer ${token.issuer} does not know it`,
    });
    expect(await warned('ERR_STARLANE_TOKEN')).toMatch(/does not know it \(asked by/);
  });

  it('sends nothing to a node of another network', async () => {
    const token = await invite();
    const foreign = encodeToken({ ...token, networkId: Buffer.alloc(16, 4).toString('base64url') });
    expect(await joined(foreign)).toMatchObject({ code: 'ERR_STARLANE_WRONG_NETWORK' });
    expect(await warned('ERR_STARLANE_WRONG_NETWORK')).toMatch(/says: it has a token for the network BAQEBAQE/);
  });

  it.each([
    [
      7 * 60_000,
      /^the clocks of two machines differ too much: the clock of this machine is 7 minutes ahead of that of /,
    ],
    [
      -3 * 3_600_000,
      /^the clocks of two machines differ too much: the clock of this machine is 3 hours behind that of /,
    ],
  ])('whose clock is %d ms off hears who is off by how much', async (aheadMs, text) => {
    const { code, message } = await joined(encodeToken(await invite()), undefined, aheadMs);
    expect(code).toBe('ERR_STARLANE_CLOCK');
    expect(message).toMatch(text);
    expect(await warned('ERR_STARLANE_CLOCK')).toMatch(
      /^the clocks of two machines differ too much: the clock of tls:\S+ is \d+ (minutes ahead of|hours behind) that of /,
    );
  });

  it('hears that its key was revoked', async () => {
    const token = encodeToken(await invite({ name: 'laptop', uses: 2 }));
    const { id } = await joined(token, 'laptop');
    await ask({ do: 'revoke', who: id });
    // The same key, as in a copy of the disk.
    const { key } = readCredentials(join(root, 'laptop'));
    writeFileSync(join(root, 'copy.enrolling'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    const text = `the membership of a node was revoked: ${id}`;
    expect(await joined(token, 'copy')).toEqual({ code: 'ERR_STARLANE_REVOKED', message: text });
    expect(await warned('ERR_STARLANE_REVOKED')).toContain(text);
  });

  it('that has pasted something else hears it without asking anybody', async () => {
    const token = encodeToken(await invite());
    expect(await joined(token.slice(0, -5))).toEqual({
      code: 'ERR_STARLANE_TOKEN',
      message: 'the token is not valid: it was cut off or mistyped; copy all of it again',
    });
  });

  it('hears which address is dead', async () => {
    const token = await invite();
    const dead = encodeToken({ ...token, addresses: ['tls://127.0.0.1:1'] });
    expect(await joined(dead)).toEqual({
      code: 'ERR_STARLANE_ENROLMENT',
      message: 'no certificate was issued: tls://127.0.0.1:1: nothing listens there',
    });
  });

  it('hears of too many wrong tokens', async () => {
    const token = await invite();
    const wrong = encodeToken({ ...token, code: Buffer.alloc(16, 5) });
    let last: Line = {};
    for (let attempt = 0; attempt < 12 && last['code'] !== 'ERR_STARLANE_ENROLMENT'; attempt++)
      last = await joined(wrong);
    expect(last['message']).toMatch(/too many wrong tokens; try again in \d+ seconds?$/);
    expect(await warned('ERR_STARLANE_ENROLMENT')).toMatch(/too many wrong tokens/);
  }, 60_000);
});
