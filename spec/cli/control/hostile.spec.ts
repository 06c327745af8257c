// What other programs of the same user may send to a control socket: it costs them their connection, and the node nothing.

import { once } from 'node:events';
import { statSync } from 'node:fs';
import net from 'node:net';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { linkedNodes } from '../../clients/linked-nodes.js';
import { within } from '../../support/deadline.js';
import { type SpecHost, taskHost } from '../../support/overlays.js';

describe('a control socket', () => {
  const nodes = linkedNodes();
  let host: SpecHost;

  beforeEach(async () => {
    host = await taskHost('of another process', nodes.joiner);
    nodes.finally(() => host.close());
  });

  const path = () => host.control?.path ?? '';

  /** Sends bytes, and returns what comes until the connection has ended. */
  async function send(text: string | Buffer): Promise<string> {
    const client = net.connect({ path: path(), allowHalfOpen: true });
    client.on('error', () => {});
    client.write(text);
    let got = '';
    client.on('data', (chunk) => {
      got += chunk;
    });
    await within(`the end of ${JSON.stringify(String(text).slice(0, 40))}`, once(client, 'end'));
    client.destroy();
    return got;
  }

  it('is for its user alone', () => {
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['\0\x01\x02\xff\r\n\r\n', /^$|^HTTP\/1\.1 400/],
    ['CONNECT http://[ HTTP/1.1\r\nHost: x\r\n\r\n', /does not know/],
    ['CONNECT dial HTTP/1.1\r\nHost: x\r\n\r\n', /invalid address/],
    ['CONNECT dial?to=web&timeout=x HTTP/1.1\r\nHost: x\r\n\r\n', /timeoutMs/],
    ['CONNECT dial?to=web&session=nope&circuit=1&timeout=1 HTTP/1.1\r\nHost: x\r\n\r\n', /ENOTFOUND|ETIMEDOUT/],
    ['CONNECT take?id=99 HTTP/1.1\r\nHost: x\r\n\r\n', /ECONNRESET/],
    ['POST /control/bind HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull', / 400 /],
    ['POST /control/bind HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{]', / 400 /],
    ['POST /control/invite HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"x"', / 400 /],
    ['GET /control/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', / 404 /],
  ])('answers %j, and goes on', async (text, answer) => {
    expect(await send(text)).toMatch(answer);
    expect(await host.overlay.services()).toEqual([]);
  });

  it('says why a dial has failed, also when data was written ahead of the circuit', async () => {
    const circuit = host.overlay.dial('nobody', { timeoutMs: 50 });
    circuit.write('early');
    const { socket } = circuit as unknown as { socket: net.Socket };
    const [error] = await within('the refusal', once(circuit, 'error'));
    expect(error).toMatchObject({ code: expect.stringMatching(/^(ENOTFOUND|ETIMEDOUT)$/) });
    // Nothing is left that would keep the process.
    expect(socket.destroyed).toBe(true);
  });

  it('drops a session that sends no lines, or one without an end, and goes on', async () => {
    const begin = 'CONNECT session HTTP/1.1\r\nHost: x\r\n\r\n';
    for (const lines of ['{]\n', '7\n', 'x'.repeat(100_000)]) expect(await send(begin + lines)).toMatch(/"session"/);
    expect(await send(`${begin}{"reset":"7"}\n{"reset":{}}\n{}\nnull\n`)).toMatch(/"session"/);
    expect(await host.overlay.services()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
});
