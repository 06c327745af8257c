// The option `prepare` of bind.

import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { type AllowRequest, createNode, type Node, type Socket } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { forgets, knows, LINK_KINDS, readToEnd, testnet } from '../../support/testnet.js';

/** Returns a dialler with links to two nodes, each of which can offer a service. */
async function twoServers(): Promise<{ dialler: Node; servers: [Node, Node]; close(): Promise<void> }> {
  const [dialler, one, two] = [createNode(), createNode(), createNode()];
  for (const server of [one, two]) {
    const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
    await dialler.join(address);
  }
  return {
    dialler,
    servers: [one, two],
    close: async () => {
      await Promise.all([dialler, one, two].map((node) => node.close()));
    },
  };
}

async function failureOf(socket: Socket): Promise<Error> {
  const [error] = (await once(socket, 'error')) as [Error];
  return error;
}

describe('the preparation for a circuit', () => {
  it.each(LINK_KINDS)('comes before the socket, which gets its value, over %s', async (kind) => {
    const { joiner, listener, close } = await testnet(kind);
    const requests: AllowRequest[] = [];
    const prepare = async (request: AllowRequest) => {
      requests.push(request);
      await new Promise((resolve) => setImmediate(resolve));
      return { local: 7 };
    };
    const prepared: unknown[] = [];
    listener.bind('web:80', { prepare, allowHalfOpen: true }, (socket, value) => {
      prepared.push(value);
      socket.pipe(socket);
    });
    await knows(joiner, 'web');
    const socket = joiner.dial('web:80');
    socket.end('sent with the open');
    expect((await within('the echo', readToEnd(socket))).toString()).toBe('sent with the open');
    expect(prepared).toEqual([{ local: 7 }]);
    expect(requests).toMatchObject([
      { peer: { id: joiner.id, verified: true }, service: 'web', port: 80, direction: 'dial' },
    ]);
    await close();
  });

  it('is asked of a node that dials itself, too', async () => {
    const node = createNode();
    node.bind('web', { prepare: () => Promise.reject(new Error('nothing behind it')) }, () => {});
    const error = await within('the failure', failureOf(node.dial('web')));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      cause: { message: expect.stringMatching(/nothing behind it/) },
    });
    await node.close();
  });

  it('refuses with the reason when it throws', async () => {
    const { joiner, listener, close } = await testnet('tcp');
    let sockets = 0;
    const prepare = () => {
      throw new Error('the disk is full');
    };
    listener.bind('web', { prepare }, () => sockets++);
    await knows(joiner, 'web');
    const error = await within('the failure', failureOf(joiner.dial('web')));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      cause: { message: `${listener.id} says: the disk is full` },
    });
    expect(sockets).toBe(0);
    await close();
  });

  it('makes the dial try another instance, with all that was written', async () => {
    const { dialler, servers, close } = await twoServers();
    const [bad, good] = servers;
    let refused = 0;
    const prepare = async () => {
      refused++;
      throw new Error('its program has crashed');
    };
    bad.bind('web', { prepare }, () => {});
    good.bind('web', { weight: 0, allowHalfOpen: true }, (socket) => socket.pipe(socket));
    while (dialler.services().filter(({ service }) => service === 'web').length < 2) await once(dialler, 'service');
    const payload = Buffer.alloc(100_000, 'x');
    const socket = dialler.dial('web');
    socket.write(payload);
    socket.end('end');
    const echo = await within('the echo of the other instance', readToEnd(socket));
    expect(echo.equals(Buffer.concat([payload, Buffer.from('end')]))).toBe(true);
    expect(refused).toBe(1);
    await close();
  });

  it('is aborted when the dialler goes', async () => {
    const { joiner, listener, close } = await testnet('tcp');
    let onSignal: (signal: AbortSignal) => void = () => {};
    const started = new Promise<AbortSignal>((resolve) => {
      onSignal = resolve;
    });
    const prepare = (_request: AllowRequest, signal: AbortSignal) => {
      onSignal(signal);
      return new Promise(() => {});
    };
    listener.bind('web', { prepare }, () => {});
    await knows(joiner, 'web');
    const socket = joiner.dial('web');
    const signal = await within('the preparation', started);
    expect(signal.aborted).toBe(false);
    const aborted = once(signal, 'abort');
    socket.destroy();
    await within('the abort', aborted);
    await close();
  });

  it('is aborted when the server is closed meanwhile, and the dial is refused', async () => {
    const { joiner, listener, close } = await testnet('tcp');
    let resolveIt: (value: unknown) => void = () => {};
    let onSignal: (signal: AbortSignal) => void = () => {};
    const started = new Promise<AbortSignal>((resolve) => {
      onSignal = resolve;
    });
    const prepare = (_request: AllowRequest, signal: AbortSignal) => {
      onSignal(signal);
      return new Promise((resolve) => {
        resolveIt = resolve;
      });
    };
    const server = listener.bind('web', { prepare }, () => {});
    await knows(joiner, 'web');
    const failed = failureOf(joiner.dial('web'));
    const signal = await within('the preparation', started);
    server.close();
    await forgets(joiner, 'web');
    resolveIt(1);
    expect(await within('the failure', failed)).toMatchObject({ code: 'ECONNREFUSED' });
    expect(signal.aborted).toBe(true);
    await close();
  });

  it('has handshakeTimeoutMs, and its circuits are bounded by maxPendingDecisions', async () => {
    const { joiner, listener, close } = await testnet('tcp', { handshakeTimeoutMs: 300, maxPendingDecisions: 1 });
    const signals: AbortSignal[] = [];
    const prepare = (_request: AllowRequest, signal: AbortSignal) => {
      signals.push(signal);
      return new Promise(() => {});
    };
    listener.bind('web', { prepare }, () => {});
    await knows(joiner, 'web');
    const errors = await within(
      'both failures',
      Promise.all([failureOf(joiner.dial('web')), failureOf(joiner.dial('web'))]),
    );
    expect(errors).toMatchObject([
      { code: 'ECONNREFUSED', cause: { message: expect.stringMatching(/not prepared in time/) } },
      { code: 'ECONNREFUSED', cause: { message: expect.stringMatching(/maxPendingDecisions/) } },
    ]);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    await close();
  });

  it('works for circuits that are encrypted from end to end', async () => {
    const { joiner, listener, close } = await testnet('tcp', { secret: 'a secret of this network, long enough' });
    const answers = [() => Promise.reject(new Error('not now')), async () => 'prepared'];
    listener.bind('web', { prepare: () => answers.shift()?.() }, (socket, value) => socket.end(String(value)));
    await knows(joiner, 'web');
    expect(await within('the failure', failureOf(joiner.dial('web', { secure: true })))).toMatchObject({
      code: 'ECONNREFUSED',
    });
    const socket = joiner.dial('web', { secure: true });
    expect((await within('the answer', readToEnd(socket))).toString()).toBe('prepared');
    await close();
  });

  it('must be a function', async () => {
    const node = createNode();
    expect(() => node.bind('web', { prepare: 'x' as never }, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }),
    );
    await node.close();
  });
});
