import { type Duplex, duplexPair } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { negotiateRole, PREAMBLE_BYTES } from '../../../lib/link/handshake/role.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { turn } from '../../support/turns.js';

const LOW = new Uint8Array(16);
const HIGH = new Uint8Array(16).fill(255);
const MAGIC = Buffer.from('STRLANE\x01', 'latin1');

function setUp(): { near: Duplex; far: Duplex; clock: FakeClock; timers: Timers } {
  const [near, far] = duplexPair();
  const clock = new FakeClock();
  return { near, far, clock, timers: new Timers(clock) };
}

describe('two ends that both attach', () => {
  it('agree on the client: the one with the larger nonce', async () => {
    const { near, far, timers } = setUp();
    const roles = await Promise.all([
      negotiateRole(near, { timers, timeoutMs: 100, nonce: LOW }),
      negotiateRole(far, { timers, timeoutMs: 100, nonce: HIGH }),
    ]);
    expect(roles).toEqual([false, true]);
    expect(timers.size).toBe(0);
  });

  it('draw their nonces at random', async () => {
    const { near, far, timers } = setUp();
    const roles = await Promise.all([
      negotiateRole(near, { timers, timeoutMs: 100 }),
      negotiateRole(far, { timers, timeoutMs: 100 }),
    ]);
    expect(roles[0]).toBe(!roles[1]);
  });

  it('leave bytes behind the preamble to be read next, wherever the chunk was cut', async () => {
    const sent = Buffer.concat([MAGIC, HIGH, Buffer.from('first frames')]);
    for (let cut = 1; cut < sent.length; cut++) {
      const { near, far, timers } = setUp();
      const role = negotiateRole(near, { timers, timeoutMs: 100, nonce: LOW });
      far.write(sent.subarray(0, cut));
      await turn();
      far.end(sent.subarray(cut));
      expect(await role).toBe(false);
      const rest: Buffer[] = [];
      near.on('data', (chunk: Buffer) => rest.push(chunk));
      await new Promise((resolve) => near.once('end', resolve));
      expect(Buffer.concat(rest).toString()).toBe('first frames');
    }
  });
});

describe('an end that attaches', () => {
  it('recognises its own bytes', async () => {
    const { near, far, timers } = setUp();
    far.pipe(far);
    const role = negotiateRole(near, { timers, timeoutMs: 100 });
    await expect(role).rejects.toMatchObject({ code: 'ERR_STARLANE_SELF_LINK' });
    expect(near.destroyed).toBe(true);
  });

  it('drops a peer of another kind with the first wrong byte', async () => {
    const { near, far, timers } = setUp();
    const role = negotiateRole(near, { timers, timeoutMs: 100 });
    far.write('GET');
    await expect(role).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    expect([near.destroyed, timers.size]).toEqual([true, 0]);
  });

  it('names another version', async () => {
    const { near, far, timers } = setUp();
    const role = negotiateRole(near, { timers, timeoutMs: 100 });
    far.write(Buffer.from('STRLANE\x02', 'latin1'));
    await expect(role).rejects.toMatchObject({ code: 'ERR_STARLANE_VERSION' });
  });

  it('waits for a limited time', async () => {
    const { near, clock, timers } = setUp();
    const role = negotiateRole(near, { timers, timeoutMs: 100 });
    const outcome = expect(role).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    clock.advance(200);
    await outcome;
    expect(near.destroyed).toBe(true);
  });

  it('notices that the peer has gone', async () => {
    const { near, far, timers } = setUp();
    const ended = negotiateRole(near, { timers, timeoutMs: 100 });
    far.end(MAGIC);
    await expect(ended).rejects.toMatchObject({ code: 'ERR_STARLANE_TRANSPORT' });
    await expect(negotiateRole(near, { timers, timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ERR_STARLANE_TRANSPORT',
    });
    expect(timers.size).toBe(0);
  });

  it('sends a preamble of 24 bytes', async () => {
    const { near, far, timers } = setUp();
    const role = negotiateRole(near, { timers, timeoutMs: 100, nonce: HIGH });
    await turn();
    expect(far.read()).toEqual(Buffer.concat([MAGIC, HIGH]));
    expect(PREAMBLE_BYTES).toBe(24);
    far.write(Buffer.concat([MAGIC, LOW]));
    expect(await role).toBe(true);
  });
});
