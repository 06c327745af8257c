// Commands of one user that start together, in any order, and beside processes that were killed or stopped.

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Command, Machine } from '../support/command.js';

let first: Machine;
let second: Machine;

beforeEach(() => {
  first = new Machine();
  second = new Machine();
});

afterEach(() => Promise.all([first.dispose(), second.dispose()]));

const LISTEN = ['--listen', 'tls://127.0.0.1:0'];

function publish(machine: Machine, name: string, ...more: string[]): Command {
  return machine.start(['publish', name, '--port', '9', '--no-invite', ...more]);
}

const names = ['a', 'b', 'c', 'd', 'e'];

/** The services that a machine knows. */
async function services(machine: Machine): Promise<string[]> {
  const { stdout } = await machine.run(['services', '--json']);
  return (JSON.parse(stdout) as { service: string }[]).map(({ service }) => service).sort();
}

describe('commands that are started together', () => {
  it('make one network, and share one node', async () => {
    const commands = names.map((name) => publish(first, name, ...LISTEN));
    await Promise.all(commands.map((command) => command.waitFor(/^published/m, 'stdout')));
    expect(await services(first)).toEqual(names);
    const { tasks } = JSON.parse((await first.run(['status', '--json'])).stdout) as { tasks: { task: string }[] };
    expect(tasks.map(({ task }) => task).sort()).toEqual(names.map((name) => `publish ${name}`));
  });

  it('share one node where a killed process has left its control socket', async () => {
    const before = publish(first, 'before', ...LISTEN);
    await before.waitFor(/^published/m, 'stdout');
    for (let round = 0; round < 3; round++) {
      await before.stop('SIGKILL').catch(() => {});
      const commands = names.map((name) => publish(first, name, ...LISTEN));
      await Promise.all(commands.map((command) => command.waitFor(/^published/m, 'stdout')));
      expect(await services(first)).toEqual(names);
      await Promise.all(commands.map((command) => command.stop('SIGKILL')));
    }
  });

  it('use a token for one machine once', async () => {
    const { token } = await first.publish(['web', '--port', '9']);
    const commands = ['0:web', '0:web', '0:web'].map((spec) => second.start(['forward', spec, '--join', token]));
    await Promise.all(commands.map((command) => command.waitFor(/^forwarding/m, 'stdout')));
  });
});

describe('a forward that starts before a publish', () => {
  it('has a node with which others find what is published', async () => {
    const { token } = await first.publish(['web', '--port', '9']);
    const forward = second.start(['forward', '0:web', '--join', token]);
    await forward.waitFor(/^forwarding/m, 'stdout');
    const later = publish(second, 'later');
    await later.waitFor(/^published/m, 'stdout');
    while (!(await services(first)).includes('later'));
  });

  it('with --role client keeps the node, and publish ends with code 6', async () => {
    const { token } = await first.publish(['web', '--port', '9']);
    const forward = second.start(['forward', '0:web', '--join', token, '--role', 'client']);
    await forward.waitFor(/^forwarding/m, 'stdout');
    const { code, stderr } = await second.run(['publish', 'later', '--port', '9'], { env: { STARLANE_TIMEOUT: '1s' } });
    expect(code).toBe(6);
    expect(stderr).toMatch(/^starlane: the node that runs here belongs to a command that announces nothing.*\n$/);
  });

  it('with a node that only asks, waits for its end', async () => {
    const { token } = await first.publish(['web', '--port', '9']);
    await second.run(['join', token]);
    const watch = second.start(['watch', '--json']);
    await watch.waitFor(/hello/, 'stdout');
    const later = publish(second, 'later');
    await watch.stop();
    await later.waitFor(/^published/m, 'stdout');
    expect(await services(second)).toContain('later');
  });
});

describe('a command that starts while the node of the machine drains', () => {
  it('waits for its end, and has a node of its own then', async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    await once(echo.listen(0, '127.0.0.1'), 'listening');
    try {
      const port = String((echo.address() as AddressInfo).port);
      const { command, token } = await first.publish(['echo', '--port', port]);
      const connect = second.start(['connect', 'echo', '--join', token]);
      connect.stdin.write('hello');
      await connect.waitFor(/hello/, 'stdout');
      command.signal('SIGTERM');
      await command.waitFor(/waiting for 1 open streams/, 'stderr');
      const again = publish(first, 'echo', ...LISTEN);
      await again.waitFor(/waiting for the node that ends here/, 'stderr');
      connect.stdin.end();
      expect(await command.finish()).toMatchObject({ code: 0 });
      await again.waitFor(/^published/m, 'stdout');
      expect(await services(first)).toEqual(['echo']);
    } finally {
      echo.close();
    }
  });
});
