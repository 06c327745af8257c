// Two duplexes that are joined.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Passage } from '../../lib/socket/passage.js';
import { readToEnd } from '../support/testnet.js';

describe('a passage', () => {
  it('passes the end of a socket on that has ended before', async () => {
    const [local, program] = duplexPair();
    const [circuit, caller] = duplexPair();
    program.end();
    local.resume();
    await once(local, 'end');
    new Passage(local, circuit);
    expect((await readToEnd(caller)).length).toBe(0);
    caller.end('still');
    expect((await readToEnd(program)).toString()).toBe('still');
  });

  it('resets the other one when one is lost', async () => {
    const [local] = duplexPair();
    const [circuit, caller] = duplexPair();
    const broken = new Promise((resolve) => {
      new Passage(local, circuit, (_passage, how) => resolve(how));
    });
    caller.resume();
    local.destroy(new Error('gone'));
    expect(await broken).toMatchObject({ side: 'local', error: { message: 'gone' } });
    expect(circuit.destroyed).toBe(true);
  });
});
