// A gateway that gets its listening socket from the process that has started it, as by socket activation of systemd.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from '@jest/globals';
import { builtUrl } from '../../support/built-lib.js';
import { within } from '../../support/deadline.js';
import { exchange, readUntil } from '../exchange.js';

const PROGRAM = `
  const { createNode } = await import(process.argv[1]);
  const { gateway } = await import(process.argv[2]);
  const { createServer } = await import('node:http');
  const node = createNode();
  node.bind('web', createServer((message, response) => response.end('inherited')));
  const opened = await gateway(node, { listen: { fd: 3 }, default: 'web' });
  console.log('port ' + opened.addresses[0].port);
  process.once('SIGTERM', async () => {
    await opened.close();
    await node.close();
  });`;

it('a gateway serves at an inherited socket, and the next process takes it over without a refused connection', async () => {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address() as { port: number };
  const { fd } = (listening as unknown as { _handle: { fd: number } })._handle;
  const start = async (): Promise<ReturnType<typeof spawn>> => {
    const child = spawn(
      process.execPath,
      ['--input-type=module', '--eval', PROGRAM, builtUrl('index.js'), builtUrl('http/index.js')],
      {
        stdio: ['ignore', 'pipe', 'inherit', fd],
      },
    );
    expect(await readUntil(child.stdout as never, `port ${port}`)).toContain(`port ${port}`);
    return child;
  };
  const ask = async (): Promise<string> =>
    (await exchange({ host: '127.0.0.1', port, headers: { host: 'x' }, agent: false })).body;
  const first = await start();
  const second = await start();
  try {
    // From here on only the two processes accept connections.
    listening.close();
    await once(listening, 'close');
    expect(await ask()).toBe('inherited');
    const ended = once(first, 'exit');
    first.kill('SIGTERM');
    for (let count = 0; count < 20; count++) expect(await ask()).toBe('inherited');
    expect((await within('the end of the first', ended))[0]).toBe(0);
    expect(await ask()).toBe('inherited');
    const over = once(second, 'exit');
    second.kill('SIGTERM');
    await within('the end of the second', over);
  } finally {
    for (const child of [first, second]) child.kill('SIGKILL');
  }
});
