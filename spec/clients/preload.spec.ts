// Unchanged scripts with client libraries, under the preload.

import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { runPreloaded } from '../support/built-lib.js';
import { within } from '../support/deadline.js';
import { socketPath } from '../support/testnet.js';
import { linkedNodes } from './linked-nodes.js';
import { POSTGRES, type PostgresServer, startPostgres } from './postgres-server.js';
import { publish } from './publish.js';
import { REDIS, type RedisServer, startRedis } from './redis-server.js';
import { describeWithPrograms } from './server-program.js';

const PROGRAMS = {
  programs: [...REDIS.programs, ...POSTGRES.programs],
  debian: `${REDIS.debian} ${POSTGRES.debian}`,
};

const SCRIPT = `
  const redis = new Redis(6379, 'redis.starlane');
  await redis.set('key', 'x'.repeat(1_000_000));
  say({ redis: (await redis.get('key')).length });
  await redis.quit();

  const other = createClient({ url: 'redis://redis.starlane:6379' });
  await other.connect();
  say({ nodeRedis: await other.incr('counter') });
  await other.close();

  const client = new pg.Client({ host: 'postgres.starlane', user: 'postgres', database: 'postgres' });
  await client.connect();
  say({ pg: (await client.query('SELECT sum(n) AS sum FROM generate_series(1, 100000) AS n')).rows[0].sum });
  await client.end();

  say({ fetch: await (await fetch('http://web.starlane/hello')).text() });`;

const HEADERS = {
  module: `import { Redis } from 'ioredis'; import { createClient } from 'redis'; import pg from 'pg';`,
  commonjs: `const { Redis } = require('ioredis'); const { createClient } = require('redis'); const pg = require('pg');`,
};

describeWithPrograms('an unchanged script under the preload', PROGRAMS, () => {
  const nodes = linkedNodes();
  let redis: RedisServer;
  let postgres: PostgresServer;
  beforeAll(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  }, 90_000);
  afterAll(async () => {
    await Promise.all([redis.stop(), postgres.stop()]);
  });

  it.each(['module', 'commonjs'] as const)('reaches Redis, PostgreSQL and a web server by name (%s)', async (kind) => {
    publish(nodes.listener, 'redis', { path: redis.path });
    publish(nodes.listener, 'postgres', postgres);
    nodes.listener.bind(
      'web',
      createServer((request, response) => response.end(`at ${request.url}`)),
    );
    const address = `unix:${socketPath()}`;
    await nodes.listener.listenAndServe(address);
    const child = runPreloaded(kind, `${HEADERS[kind]}\n(async () => {${SCRIPT}})();`, { STARLANE_JOIN: address });
    nodes.finally(() => child.stop());
    expect({ code: await within('the end of the script', child.exited), errors: child.errors }).toEqual({
      code: 0,
      errors: '',
    });
    expect(child.lines).toMatchObject([
      { redis: 1_000_000 },
      { nodeRedis: expect.any(Number) },
      { pg: '5000050000' },
      { fetch: 'at /hello' },
    ]);
  });
});
