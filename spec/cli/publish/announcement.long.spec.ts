// What publish prints, and when it makes a network and a token.

import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodeToken } from '../../../lib/wire/token.js';
import { callerWith } from '../../support/caller.js';
import { Machine } from '../../support/command.js';
import { within } from '../../support/deadline.js';
import { knows } from '../../support/testnet.js';

const TOKEN = /starlane1\.[\w-]+/;
const LOCAL = ['--listen', 'tls://127.0.0.1:0'];
const ends: Array<() => unknown> = [];
let port = '';

beforeEach(async () => {
  const server = net.createServer((socket) => socket.end('hello'));
  ends.push(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  port = String((server.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function machine(): Machine {
  const made = new Machine();
  ends.push(() => made.dispose());
  return made;
}

describe('what publish prints', () => {
  it('is the command for another machine when the network is new, and no token later on', async () => {
    const here = machine();
    const first = here.start(['publish', 'web', '--port', port, ...LOCAL]);
    const [line] = await first.waitFor(/^ {2}starlane forward .*$/m, 'stdout');
    expect(line).toMatch(new RegExp(`^  starlane forward ${port}:web --join starlane1\\.`));
    expect(first.stdout).toMatch(/^published web \(127\.0\.0\.1:\d+\)\n\nOn another machine, once, until \d\d:\d\d:\n/);
    await first.waitFor(
      /warning: other machines cannot use it: the network is found at 127\.0\.0\.1:\d+ only; use --listen/,
    );
    const { addresses, expiresAtMs } = decodeToken((TOKEN.exec(line) as RegExpExecArray)[0]);
    expect(addresses).toEqual([expect.stringMatching(/^tls:\/\/127\.0\.0\.1:\d+$/)]);
    expect(expiresAtMs - Date.now()).toBeGreaterThan(14 * 60_000);
    await first.stop();
    const second = here.start(['publish', 'web', '--port', port, ...LOCAL]);
    await second.waitFor(/^published web/m, 'stdout');
    expect(await second.stop()).toMatchObject({ code: 0, stdout: `published web (127.0.0.1:${port})\n`, stderr: '' });
    const third = here.start(['publish', 'web', '--port', port, ...LOCAL, '--invite']);
    await third.waitFor(TOKEN, 'stdout');
    await third.stop();
  });

  it('is one line of JSON for programs', async () => {
    const command = machine().start(['publish', 'web', '--port', port, ...LOCAL, '--json']);
    await command.waitFor(/\n/, 'stdout');
    const { stdout } = await command.stop();
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const value = JSON.parse(stdout);
    expect(value).toEqual({
      service: 'web',
      to: `127.0.0.1:${port}`,
      node: expect.stringMatching(/^[\w-]{11}$/),
      listen: [expect.stringMatching(/^tls:\/\/127\.0\.0\.1:\d+$/)],
      token: expect.stringMatching(TOKEN),
      expires: expect.any(String),
      command: `starlane forward ${port}:web --join ${value.token}`,
    });
    expect(Date.parse(value.expires)).toBeGreaterThan(Date.now());
  });

  it('has no token when none is wanted', async () => {
    const command = machine().start(['publish', 'web', '--port', port, ...LOCAL, '--no-invite']);
    await command.waitFor(/^published web/m, 'stdout');
    expect((await command.stop()).stdout).not.toMatch(TOKEN);
  });

  it('names npx when that has started it', async () => {
    const env = { npm_command: 'exec' };
    const command = machine().start(['publish', 'web', '--port', port, ...LOCAL], { env });
    await command.waitFor(/^ {2}npx starlane forward /m, 'stdout');
  });

  it('has a token of the node that runs already, which leads to both services', async () => {
    const here = machine();
    const { token } = await here.publish(['one', '--port', port]);
    const shared = here.start(['publish', 'two', '--port', port, '--invite']);
    const [other] = await shared.waitFor(TOKEN, 'stdout');
    for (const [which, service] of [
      [token, 'two'],
      [other, 'one'],
    ]) {
      const { node, close } = await callerWith(which);
      ends.push(close);
      await within(service, knows(node, service));
    }
  });

  it('needs a member that may issue for a token, and says so', async () => {
    const { token } = await machine().publish(['one', '--port', port]);
    const there = machine();
    const command = there.start(['publish', 'two', '--port', port, '--join', token, '--invite']);
    const { code, stderr } = await command.finish();
    expect(code).toBe(4);
    expect(stderr).toMatch(/authority/);
    const again = there.start(['publish', 'two', '--port', port]);
    await again.waitFor(/^published two/m, 'stdout');
  });

  it('is an error when the node that runs already is one that nobody finds', async () => {
    const { token } = await machine().publish(['one', '--port', port]);
    const there = machine();
    const forward = there.start(['forward', '0:one', '--join', token, '--role', 'client']);
    await forward.waitFor(/127\.0\.0\.1:\d+/, 'stdout');
    const env = { STARLANE_TIMEOUT: '1s' };
    const { code, stdout, stderr } = await there.run(['publish', 'two', '--port', port], { env });
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(stderr).toMatch(/^starlane: the node that runs here .* announces nothing, .* end that one first/);
  });

  it('is an error when the name is taken on this machine, or may not be offered', async () => {
    const here = machine();
    await here.publish(['web', '--port', port]);
    expect(await here.run(['publish', 'web', '--port', port])).toMatchObject({ code: 6, stdout: '' });
    const { stdout: token } = await here.run(['invite', '--offer', 'db-*']);
    const there = machine();
    const refused = await there.run(['publish', 'web', '--port', port, '--join', token.trim()]);
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toMatch(/^starlane: .*web/);
  });
});
