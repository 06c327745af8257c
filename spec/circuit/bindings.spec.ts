import { beforeEach, describe, expect, it } from '@jest/globals';
import { type Binding, Bindings, FIRST_FREE_PORT } from '../../lib/circuit/bindings.js';
import { socketAddresses } from '../../lib/socket/endpoints.js';
import type { Server } from '../../lib/socket/server.js';
import { tryReadReply } from '../../lib/wire/open-reply.js';

const NODE_ID = 'AAAAAAAAAAA';
const SERVER = {} as Server;

let unbound: Binding[];
let bindings: Bindings;
beforeEach(() => {
  unbound = [];
  bindings = new Bindings({
    nodeId: NODE_ID,
    addresses: socketAddresses('id'),
    onUnbind: (binding) => unbound.push(binding),
  });
});

describe('a server bound by name alone', () => {
  it('answers any port, and has a free one of its own', () => {
    const web = bindings.add('web', undefined, SERVER);
    const db = bindings.add('db', undefined, SERVER);
    expect([web.port, db.port, web.anyPort]).toEqual([FIRST_FREE_PORT, FIRST_FREE_PORT + 1, true]);
    expect([bindings.find('web', 0), bindings.find('web', 80)]).toEqual([web, web]);
    expect(bindings.find('', web.port)).toBe(web);
    expect(bindings.find('', 80)).toBeUndefined();
  });

  it('leaves a port to the server that is bound to it', () => {
    const any = bindings.add('web', undefined, SERVER);
    const exact = bindings.add('web', 80, SERVER);
    expect([bindings.find('web', 80), bindings.find('web', 81), bindings.find('web', 0)]).toEqual([exact, any, any]);
  });
});

describe('a server bound by name and port', () => {
  it('answers that port, and the name when no other server does', () => {
    const web = bindings.add('web', 80, SERVER);
    expect([bindings.find('web', 80), bindings.find('web', 0)]).toEqual([web, web]);
    expect(bindings.find('web', 81)).toBeUndefined();
    expect(bindings.find('other', 80)).toBeUndefined();
  });

  it('gets a free port when it asks for port 0', () => {
    const web = bindings.add('web', 0, SERVER);
    expect([web.port, web.anyPort]).toEqual([FIRST_FREE_PORT, false]);
    expect(bindings.find('web', 1)).toBeUndefined();
  });

  it('shares the port with other names, and the first one answers for the port alone', () => {
    const web = bindings.add('web', 80, SERVER);
    const api = bindings.add('api', 80, SERVER);
    expect([bindings.find('web', 80), bindings.find('api', 80), bindings.find('', 80)]).toEqual([web, api, web]);
    web.unbind();
    expect(bindings.find('', 80)).toBe(api);
  });
});

describe('a server bound to a bare port', () => {
  it('answers the port before any name does', () => {
    bindings.add('web', 80, SERVER);
    const bare = bindings.add('', 80, SERVER);
    expect(bindings.find('', 80)).toBe(bare);
    expect(bindings.find('web', 80)).not.toBe(bare);
  });

  it('may be bound to any of 2^32 - 1 ports, or to a free one', () => {
    expect(bindings.add('', 0xffff_ffff, SERVER).port).toBe(0xffff_ffff);
    expect(bindings.add('', 1, SERVER).port).toBe(1);
    expect(bindings.add('', 0, SERVER).port).toBe(FIRST_FREE_PORT);
  });
});

describe('a place that is taken', () => {
  it.each([
    ['web', undefined],
    ['web', 80],
    ['', 80],
  ])('is EADDRINUSE for another server: %p %p', (service, port) => {
    bindings.add(service, port, SERVER);
    expect(() => bindings.add(service, port, SERVER)).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE', syscall: 'listen' }),
    );
    expect(bindings.size).toBe(1);
  });

  it('is free again after unbind, which counts once', () => {
    const first = bindings.add('web', 80, SERVER);
    first.unbind();
    first.unbind();
    expect(unbound).toEqual([first]);
    expect(bindings.find('web', 80)).toBeUndefined();
    const second = bindings.add('web', 80, SERVER);
    first.unbind();
    expect(bindings.find('web', 80)).toBe(second);
    expect([...bindings.servers()]).toEqual([SERVER]);
  });

  it('is passed over when a free port is picked', () => {
    bindings.add('', FIRST_FREE_PORT, SERVER);
    expect(bindings.add('', 0, SERVER).port).toBe(FIRST_FREE_PORT + 1);
  });
});

describe('the reply that accepts', () => {
  it('is made once for each port', () => {
    const web = bindings.add('web', undefined, SERVER);
    const reply = web.acceptance(80);
    expect(web.acceptance(80)).toBe(reply);
    expect(tryReadReply(reply)?.reply).toMatchObject({ code: 0, port: 80, at: NODE_ID, reason: '' });
    expect(tryReadReply(web.acceptance(81))?.reply.port).toBe(81);
  });
});
