import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type AgentOptions, agent, type HttpTarget } from '../../lib/http/index.js';
import { createNode, type Selector, type Socket } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { closeOf, type NodePair, nodePair, readAll } from '../support/socket-pair.js';
import { turn, turnsUntil } from '../support/turns.js';
import { answerTo, ask, exchange, failureOf } from './exchange.js';

let pair: NodePair;
let agents: Agent[];
beforeEach(async () => {
  watchHandles();
  pair = await nodePair();
  agents = [];
});
afterEach(async () => {
  for (const made of agents) made.destroy();
  await pair[Symbol.asyncDispose]();
  await nothingLeft();
});

function makeAgent(options?: AgentOptions): Agent {
  const made = agent(pair.client, options);
  agents.push(made);
  return made;
}

type Handler = (message: IncomingMessage, response: ServerResponse) => void;

const sayOk: Handler = (_message, response) => response.end('ok');

/** Serves by name; the sockets that the server gets are in `sockets`. */
async function serve(address: string, handler: Handler = sayOk): Promise<{ server: Server; sockets: Socket[] }> {
  const server = createServer(handler);
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket as unknown as Socket));
  pair.server.bind(address, server);
  if (!address.startsWith(':')) await pair.client.waitFor(address);
  return { server, sockets };
}

/** Handlers that answer on demand, in the order of the requests. */
function held(): { handler: Handler; responses: ServerResponse[]; arrived(count: number): Promise<void> } {
  const responses: ServerResponse[] = [];
  return {
    handler: (_message, response) => responses.push(response),
    responses,
    arrived: (count) => turnsUntil(`${count} requests`, () => responses.length >= count),
  };
}

function socketsIn(pools: NodeJS.ReadOnlyDict<unknown[]>): number {
  let count = 0;
  for (const sockets of Object.values(pools)) count += sockets?.length ?? 0;
  return count;
}

describe('an agent', () => {
  it('is one of Node, for http and for https', () => {
    const made = makeAgent();
    expect(made).toBeInstanceOf(Agent);
    expect(made).toBeInstanceOf(HttpsAgent);
  });

  it('gets a page by the name of its service', async () => {
    await serve('web', (message, response) => response.end(`${message.headers.host}${message.url}`));
    expect((await exchange('http://web/path?a=1', { agent: makeAgent() })).body).toBe('web/path?a=1');
  });

  it('says a port that is not 80 with the name', async () => {
    await serve('web:8080', (message, response) => response.end(`8080, ${message.headers.host}`));
    await serve('web:8081', (_message, response) => response.end('8081'));
    const made = makeAgent();
    expect((await exchange('http://web:8080/', { agent: made })).body).toBe('8080, web:8080');
    expect((await exchange('http://web:8081/', { agent: made })).body).toBe('8081');
  });

  it('finds a service at any port when the request says 80 or none', async () => {
    await serve('web:7');
    for (const url of ['http://web', 'http://web:80/']) {
      expect((await exchange(url, { agent: makeAgent() })).body).toBe('ok');
    }
  });

  it('prefers who answers at any port to who answers at another one, when the request says 80 or none', async () => {
    await serve('web', (_message, response) => response.end('any'));
    await serve('web:7', (_message, response) => response.end('7'));
    await turnsUntil('both services', () => pair.client.services().length === 2);
    const made = makeAgent({ keepAlive: false });
    for (let round = 0; round < 10; round++) expect((await exchange('http://web/', { agent: made })).body).toBe('any');
  });

  it('takes who answers at any port for as good as who answers at the one that is said', async () => {
    await serve('web');
    await serve('web:7');
    await turnsUntil('both services', () => pair.client.services().length === 2);
    const ports: number[] = [];
    const selector: Selector = (instances) => {
      for (const { port } of instances) ports.push(port);
      return instances[0];
    };
    await exchange('http://web:7/', { agent: makeAgent({ dial: { selector } }) });
    expect(ports.sort()).toEqual([0, 7]);
  });

  it('reaches ports of 32 bits by options', async () => {
    await serve('web:4000000000');
    expect((await exchange({ host: 'web', port: 4_000_000_000, agent: makeAgent() })).body).toBe('ok');
  });

  it('reaches a node by its id', async () => {
    await serve(':80', (_message, response) => response.end('by id'));
    expect((await exchange({ host: `@${pair.server.id}`, agent: makeAgent() })).body).toBe('by id');
  });

  it('goes where its option address says', async () => {
    await serve('Web');
    const seen: HttpTarget[] = [];
    const made = makeAgent({
      address(target) {
        seen.push(target);
        return 'Web';
      },
    });
    expect((await exchange('http://web.example:81/', { agent: made })).body).toBe('ok');
    expect(seen).toEqual([{ hostname: 'web.example', port: 81, protocol: 'http:' }]);
  });

  it('dials with the options it was given', async () => {
    await serve('web');
    let asked = 0;
    const made = makeAgent({
      dial: {
        selector(instances) {
          asked++;
          return instances[0];
        },
      },
    });
    await exchange('http://web/', { agent: made });
    expect(asked).toBe(1);
  });

  it('streams a request as it is written, and an answer as it comes', async () => {
    await serve('web', (message, response) => {
      message.on('data', (chunk) => response.write(chunk));
      message.on('end', () => response.end());
    });
    const request = ask('http://web/', { agent: makeAgent(), method: 'POST' });
    const arrived = once(request, 'response') as Promise<[IncomingMessage]>;
    request.write('one');
    const [response] = await within('the response', arrived);
    expect(`${(await within('a chunk', once(response, 'data')))[0]}`).toBe('one');
    request.write('two');
    expect(`${(await within('a chunk', once(response, 'data')))[0]}`).toBe('two');
    request.end();
    expect(`${await readAll(response)}`).toBe('');
  });

  it('hands over the socket of an upgrade, which is none of its own any more', async () => {
    const { server } = await serve('web');
    server.on('upgrade', (_message, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhead');
      socket.pipe(socket);
    });
    const made = makeAgent();
    const request = ask('http://web/', { agent: made, headers: { Connection: 'Upgrade', Upgrade: 'echo' } }).end();
    const [response, socket, head] = (await within('the upgrade', once(request, 'upgrade'))) as [
      IncomingMessage,
      Duplex,
      Buffer,
    ];
    expect(response.statusCode).toBe(101);
    expect(`${head}`).toBe('head');
    expect(socketsIn(made.sockets)).toBe(0);
    const echoed = readAll(socket);
    socket.end('echo me');
    expect(`${await within('the echo', echoed)}`).toBe('echo me');
  });

  it('hands over the socket of a CONNECT', async () => {
    const { server } = await serve('proxy');
    server.on('connect', (message, socket, head) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.end(`${message.url} ${head}`);
    });
    const request = ask('http://proxy/', { agent: makeAgent(), method: 'CONNECT', path: 'there:1' }).end();
    const [response, socket] = (await within('the answer', once(request, 'connect'))) as [IncomingMessage, Duplex];
    expect(response.statusCode).toBe(200);
    expect(`${await within('the end', readAll(socket))}`).toBe('there:1 ');
  });
});

describe('the pool of an agent', () => {
  it('keeps a socket for the next request to the same service', async () => {
    const { sockets } = await serve('web');
    const made = makeAgent();
    const first = await exchange('http://web/', { agent: made });
    expect(first.response.headers.connection).toBe('keep-alive');
    for (const url of ['http://web:80/', 'http://web/other']) {
      const next = await exchange(url, { agent: made });
      expect(next.request.reusedSocket).toBe(true);
      expect(next.socket).toBe(first.socket);
    }
    expect(sockets).toHaveLength(1);
  });

  it('has one socket for each request without keepAlive', async () => {
    const { sockets } = await serve('web');
    const made = makeAgent({ keepAlive: false });
    const { response } = await exchange('http://web/', { agent: made });
    await exchange('http://web/', { agent: made });
    expect(response.headers.connection).toBe('close');
    expect(sockets).toHaveLength(2);
    expect(socketsIn(made.freeSockets)).toBe(0);
  });

  it('is apart for each name and port', async () => {
    await serve('web');
    await serve('shop');
    const made = makeAgent();
    for (const url of ['http://web/', 'http://web:81/', 'http://shop/']) {
      expect((await exchange(url, { agent: made })).request.reusedSocket).toBe(false);
    }
    expect(Object.keys(made.freeSockets).sort()).toEqual(['shop:80:', 'web:80:', 'web:81:']);
  });

  it('lets requests wait beyond maxSockets', async () => {
    const { handler, responses, arrived } = held();
    const { sockets } = await serve('web', handler);
    const made = makeAgent({ maxSockets: 1 });
    const answers = [exchange('http://web/', { agent: made }), exchange('http://web/', { agent: made })];
    await arrived(1);
    expect(socketsIn(made.requests)).toBe(1);
    responses[0].end('first');
    expect((await answers[0]).body).toBe('first');
    await arrived(2);
    responses[1].end('second');
    expect((await answers[1]).body).toBe('second');
    expect(sockets).toHaveLength(1);
  });

  it('lets requests wait beyond maxTotalSockets, whatever their service', async () => {
    const { handler, responses, arrived } = held();
    await serve('web', handler);
    await serve('shop');
    const made = makeAgent({ maxTotalSockets: 1 });
    const first = exchange('http://web/', { agent: made, headers: { Connection: 'close' } });
    const second = exchange('http://shop/', { agent: made });
    await arrived(1);
    expect(Object.keys(made.requests)).toEqual(['shop:80:']);
    responses[0].end();
    await first;
    expect((await within('the other answer', second)).body).toBe('ok');
  });

  it('keeps no more than maxFreeSockets', async () => {
    const { handler, responses, arrived } = held();
    await serve('web', handler);
    const made = makeAgent({ maxFreeSockets: 1 });
    const answers = [exchange('http://web/', { agent: made }), exchange('http://web/', { agent: made })];
    await arrived(2);
    for (const response of responses) response.end();
    await Promise.all(answers);
    expect(socketsIn(made.freeSockets)).toBe(1);
  });

  it.each([
    ['lifo', 1],
    ['fifo', 0],
  ] as const)('takes its sockets in the order of scheduling: %s', async (scheduling, taken) => {
    const { handler, responses, arrived } = held();
    await serve('web', handler);
    const made = makeAgent({ scheduling });
    const answers = [exchange('http://web/', { agent: made }), exchange('http://web/', { agent: made })];
    await arrived(2);
    const freed: Duplex[] = [];
    for (const [index, response] of responses.entries()) {
      response.end();
      freed.push((await answers[index]).socket);
    }
    const third = exchange('http://web/', { agent: made });
    await arrived(3);
    responses[2].end();
    expect((await third).socket).toBe(freed[taken]);
  });

  it('does not hold the process open while its sockets are free, and does while one is used', async () => {
    const { handler, responses, arrived } = held();
    await serve('web', handler);
    const made = makeAgent();
    const holds = (): number => pair.client.stats().holds;
    const idle = holds();
    for (const index of [0, 1]) {
      const answer = exchange('http://web/', { agent: made });
      await arrived(index + 1);
      expect(holds()).toBe(idle + 1);
      responses[index].end();
      await answer;
      expect(holds()).toBe(idle);
    }
  });

  it('forgets a free socket that the server closes', async () => {
    const { sockets } = await serve('web');
    const made = makeAgent();
    await exchange('http://web/', { agent: made });
    sockets[0].end();
    await turnsUntil('an empty pool', () => socketsIn(made.freeSockets) === 0);
    expect((await exchange('http://web/', { agent: made })).request.reusedSocket).toBe(false);
  });

  it('closes a free socket that receives unexpected data', async () => {
    const { sockets } = await serve('web');
    const made = makeAgent();
    const { socket } = await exchange('http://web/', { agent: made });
    sockets[0].write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
    await within('the close', once(socket, 'close'));
    const { body, request } = await exchange('http://web/', { agent: made });
    expect(body).toBe('ok');
    expect(request.reusedSocket).toBe(false);
  });

  it('closes free sockets that are idle for its timeout', async () => {
    await serve('web');
    const made = makeAgent({ timeout: 20 });
    const { socket } = await exchange('http://web/', { agent: made });
    await within('the close', once(socket, 'close'));
    expect(socketsIn(made.freeSockets)).toBe(0);
  });

  it('does not keep a socket that the server will close within a second', async () => {
    const { server } = await serve('web');
    server.keepAliveTimeout = 1000;
    const made = makeAgent();
    const { response } = await exchange('http://web/', { agent: made });
    expect(response.headers['keep-alive']).toBe('timeout=1');
    expect(socketsIn(made.freeSockets)).toBe(0);
  });

  it('is closed by destroy, with the sockets in use', async () => {
    const { handler, arrived, responses } = held();
    await serve('web', handler);
    const made = makeAgent();
    const first = exchange('http://web/', { agent: made });
    await arrived(1);
    responses[0].end();
    const { socket: free } = await first;
    const other = ask('http://web/', { agent: made });
    const another = ask('http://web/', { agent: made });
    const failures = [failureOf(other), failureOf(another)];
    other.end();
    another.end();
    await arrived(3);
    made.destroy();
    for (const failure of failures)
      expect(await failure).toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' });
    expect(free.destroyed).toBe(true);
    await turn();
    expect(socketsIn(made.sockets) + socketsIn(made.freeSockets)).toBe(0);
  });
});

describe('a request to a service', () => {
  it('fails with ENOTFOUND when no node offers it in time', async () => {
    const made = makeAgent({ dial: { timeoutMs: 20 } });
    const error = await failureOf(ask('http://nobody:81/', { agent: made }).end());
    expect(error).toMatchObject({ code: 'ENOTFOUND', syscall: 'connect', address: 'nobody', port: 81 });
    await turn();
    expect(socketsIn(made.sockets)).toBe(0);
  });

  it('fails with ECONNREFUSED when nothing is bound there', async () => {
    const error = await failureOf(ask({ host: `@${pair.server.id}`, port: 81, agent: makeAgent() }).end());
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: `@${pair.server.id}`, port: 81 });
  });

  it('fails with EHOSTUNREACH when there is no way, which is known at once', async () => {
    const error = await failureOf(ask({ host: '@AAAAAAAAAAA', port: 81, agent: makeAgent() }).end());
    expect(error).toMatchObject({ code: 'EHOSTUNREACH' });
  });

  it('fails with ERR_STARLANE_ADDRESS when the host is no name', async () => {
    const made = makeAgent();
    const error = await failureOf(ask('http://[::1]/', { agent: made }).end());
    expect(error).toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
    await turn();
    expect(Object.keys(made.sockets)).toEqual([]);
  });

  it('fails with what the option address throws', async () => {
    const made = makeAgent({
      address() {
        throw new Error('not for you');
      },
    });
    expect(await failureOf(ask('http://web/', { agent: made }).end())).toMatchObject({ message: 'not for you' });
  });

  it('fails with ECANCELED when the node is closed', async () => {
    const node = createNode();
    await node.close();
    const made = agent(node);
    agents.push(made);
    expect(await failureOf(ask('http://web/', { agent: made }).end())).toMatchObject({ code: 'ECANCELED' });
  });

  it('leaves the queue to those behind it when it fails', async () => {
    await serve('web');
    let dials = 0;
    const made = makeAgent({ maxSockets: 1, address: () => (++dials > 2 ? 'web' : '@AAAAAAAAAAA:1') });
    const requests = [1, 2, 3].map(() => ask('http://web/', { agent: made }));
    const failures = requests.slice(0, 2).map(failureOf);
    const last = answerTo(requests[2]);
    requests[0].end();
    requests[1].end();
    expect(await failures[0]).toMatchObject({ code: 'EHOSTUNREACH' });
    expect(await failures[1]).toMatchObject({ code: 'EHOSTUNREACH' });
    expect((await within('the last answer', last)).body).toBe('ok');
    expect(socketsIn(made.requests)).toBe(0);
  });

  it('gives up its dial when it is aborted', async () => {
    const controller = new AbortController();
    const request = ask('http://nobody/', { agent: makeAgent(), signal: controller.signal });
    const failed = failureOf(request);
    request.end();
    await turn();
    expect(pair.client.stats().dials.pending).toBe(1);
    controller.abort();
    expect(await failed).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    await turn();
    expect(pair.client.stats().dials.pending).toBe(0);
  });

  it('closes its socket when it is aborted in the middle of the answer', async () => {
    const { sockets } = await serve('web', (_message, response) => response.write('a part'));
    const controller = new AbortController();
    const request = ask('http://web/', { agent: makeAgent(), signal: controller.signal }).end();
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    const closed = closeOf(sockets[0]);
    const failed = failureOf(request);
    controller.abort();
    expect(await failed).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    await expect(readAll(response)).rejects.toMatchObject({ code: 'ECONNRESET', message: 'aborted' });
    expect(await within('the close at the server', closed)).toBe(false);
  });

  it('emits its timeout, also while it dials', async () => {
    const request = ask('http://nobody/', { agent: makeAgent(), timeout: 20 });
    request.end();
    await within('the timeout', once(request, 'timeout'));
    const failed = failureOf(request);
    request.destroy();
    expect(await failed).toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' });
  });

  it('emits its timeout while it waits for the response', async () => {
    await serve('web', () => {});
    const request = ask('http://web/', { agent: makeAgent() });
    request.setTimeout(20);
    request.end();
    await within('the timeout', once(request, 'timeout'));
    request.on('error', () => {}).destroy();
  });

  it('emits the timeout of its agent', async () => {
    await serve('web', () => {});
    const request = ask('http://web/', { agent: makeAgent({ timeout: 20 }) }).end();
    await within('the timeout', once(request, 'timeout'));
    request.on('error', () => {}).destroy();
  });

  it('waits for a service that is not there yet', async () => {
    const answer = exchange('http://late/', { agent: makeAgent() });
    await turn();
    await serve('late');
    expect((await within('the answer', answer)).body).toBe('ok');
  });

  it('gets an answer that comes ahead of the end of its body', async () => {
    await serve('web', (message, response) => {
      response.end('no, thanks');
      message.resume();
    });
    const request = ask('http://web/', { agent: makeAgent(), method: 'POST' });
    const arrived = once(request, 'response') as Promise<[IncomingMessage]>;
    request.write(randomBytes(3 * 1024 * 1024));
    const [response] = await within('the response', arrived);
    expect(`${await readAll(response)}`).toBe('no, thanks');
    const closed = once(request, 'close');
    request.end('the rest');
    await within('the end of the request', closed);
  });
});
