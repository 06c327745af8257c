// postgres.js against a real PostgreSQL: with its option `socket`, and unchanged under the preload.

import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import postgres, { type Options, type Sql } from 'postgres';
import type { Socket } from '../../lib/index.js';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { linkedNodes } from './linked-nodes.js';
import { POSTGRES, type PostgresServer, startPostgres } from './postgres-server.js';
import { publish } from './publish.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';
import { describeWithPrograms } from './server-program.js';

const ROWS = 100_000;
const QUERY_CANCELED = '57014';

/** `socket` is not in the declarations of postgres.js. */
type SocketOptions = Options<Record<string, never>> & { socket?: () => Socket };

/** 20 MB in the text format of COPY. */
function* rows(): Generator<string> {
  for (let id = 0; id < ROWS; id += 100) {
    let text = '';
    for (let row = id; row < id + 100; row++) text += `${row}\t${String(row).padStart(200, 'x')}\n`;
    yield text;
  }
}

const SCRIPT = `
  const sql = postgres({ host: 'postgres.starlane', user: 'postgres', database: 'postgres', max: 4 });
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => sql\`select \${n}::int + 1 as sum\`));
  say({ sums: answers.reduce((sum, [row]) => sum + row.sum, 0) });
  const [{ text }] = await sql\`select repeat('x', 5000000) as text\`;
  say({ characters: text.length });
  await sql.begin(async (sql) => say({ inside: (await sql\`select 1 as one\`)[0].one }));
  await sql\`select nothing\`.catch((error) => say({ code: error.code }));
  await sql.end();`;

const HEADERS = { module: `import postgres from 'postgres';`, commonjs: `const postgres = require('postgres');` };

describeWithPrograms('postgres.js', POSTGRES, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 90_000);
  afterAll(() => server.stop());

  describe('with the option socket', () => {
    const nodes = linkedNodes();
    beforeEach(() => {
      publish(nodes.listener, 'postgres', server);
    });

    function client(options: SocketOptions = {}): Sql {
      const own: SocketOptions = {
        user: 'postgres',
        database: 'postgres',
        max: 1,
        backoff: () => 0,
        onnotice: () => {},
        socket: () => nodes.joiner.dial('postgres'),
        ...options,
      };
      const sql = postgres(own);
      nodes.finally(() => sql.end({ timeout: 1 }));
      return sql;
    }

    /** Resolved when as many backends run something like `text`. */
    async function untilRunning(sql: Sql, text: string, count: number): Promise<void> {
      for (;;) {
        const [{ running }] = await sql`select count(*)::int as running from pg_stat_activity
          where query like ${`${text}%`} and pid <> pg_backend_pid() and state = 'active'`;
        if (running === count) return;
      }
    }

    it('queries, many at once and in order', async () => {
      const sql = client({ max: 4 });
      const queries = Array.from(
        { length: 1000 },
        (_, value) => sql`select ${value}::int * 2 as twice, ${'ü'} as word`,
      );
      const answers = await within('the queries', Promise.all(queries));
      expect(answers.map(([row]) => row)).toEqual(queries.map((_, value) => ({ twice: value * 2, word: 'ü' })));
    });

    it('fails a wrong query and goes on', async () => {
      const sql = client();
      await within('the refusal', expect(sql`select nothing`).rejects.toMatchObject({ code: '42703' }));
      expect(await within('select', sql`select 1 as one`)).toEqual([{ one: 1 }]);
    });

    it('copies 20 MB in and out', async () => {
      const sql = client();
      await within('create', sql`create temporary table lines (id int, line text)`);
      const sent = createHash('sha256');
      const input = await within('copy', sql`copy lines from stdin`.writable());
      const source = Readable.from(rows(), { objectMode: true }).on('data', (text: string) => sent.update(text));
      await within('copy in', pipeline(source, input));
      expect(await within('count', sql`select count(*)::int as rows from lines`)).toEqual([{ rows: ROWS }]);
      const received = createHash('sha256');
      await within('copy out', pipeline(await sql`copy lines to stdout`.readable(), received));
      expect(received.digest('hex')).toBe(sent.digest('hex'));
    });

    it('reads the rows of a cursor as it asks for them', async () => {
      const sql = client();
      let sum = 0;
      let batches = 0;
      const read = async (): Promise<void> => {
        for await (const batch of sql`select n from generate_series(1, 10000) as n`.cursor(1000)) {
          batches++;
          for (const { n } of batch) sum += n;
        }
      };
      await within('the rows', read());
      expect([batches, sum]).toEqual([10, 50_005_000]);
    });

    it('rolls a transaction back', async () => {
      const sql = client();
      await within('create', sql`create temporary table accounts (sum int)`);
      const failing = sql.begin(async (inside) => {
        await inside`insert into accounts values (100)`;
        throw new Error('no');
      });
      await within('the transaction', expect(failing).rejects.toThrow('no'));
      expect(await within('select', sql`select * from accounts`)).toEqual([]);
    });

    it('cancels a query over a separate socket', async () => {
      const [sql, other] = [client(), client()];
      const query = sql`select pg_sleep(600)`;
      const canceled = expect(query).rejects.toMatchObject({ code: QUERY_CANCELED });
      await within('the query', untilRunning(other, 'select pg_sleep', 1));
      query.cancel();
      await within('the error', canceled);
      expect(await within('select', sql`select 1 as one`)).toEqual([{ one: 1 }]);
    });

    it('receives notifications', async () => {
      const [subscriber, publisher] = [client(), client()];
      let onNotification: (payload: string) => void = () => {};
      const received = new Promise<string>((resolve) => {
        onNotification = resolve;
      });
      await within('listen', subscriber.listen('news', onNotification));
      await within('notify', publisher.notify('news', 'it rains'));
      expect(await within('the notification', received)).toBe('it rains');
    });

    it('speaks TLS inside the socket', async () => {
      const { cert } = await certificateFor('postgres');
      const sql = client({ ssl: { ca: cert, servername: 'postgres' } });
      const answer = await within('select', sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`);
      expect(answer).toEqual([{ ssl: true }]);
      const [{ text }] = await within('a large answer', sql`select repeat('x', 5000000) as text`);
      expect(text).toHaveLength(5_000_000);
    });

    it('ends a query with an error when the link is lost, and connects again', async () => {
      const [sql, other] = [client(), client()];
      const failed = expect(sql`select pg_sleep(601)`).rejects.toMatchObject({ code: 'ECONNRESET' });
      await within('the query', untilRunning(other, 'select pg_sleep', 1));
      nodes.cut();
      await within('the error', failed);
      expect(await within('a new connection', sql`select 1 as one`)).toEqual([{ one: 1 }]);
    });

    it('gets an error for a service that does not exist', async () => {
      const sql = client({ socket: () => nodes.joiner.dial('nowhere', { timeoutMs: 20 }) });
      await within('the refusal', expect(sql`select 1`).rejects.toMatchObject({ code: 'ENOTFOUND' }));
    });
  });

  describe.each(WAYS)('under the preload, %s', (way) => {
    const network = scriptNetwork(way);
    beforeEach(() => {
      publish(network.server, 'postgres', server);
    });

    // postgres.js sets host and port on the socket, where they replace our members.
    it.each(['module', 'commonjs'] as const)(
      'reaches PostgreSQL by name (%s)',
      async (kind) => {
        const lines = await network.run(kind, `${HEADERS[kind]}\n(async () => {${SCRIPT}})();`);
        expect(lines).toEqual([{ sums: 5050 }, { characters: 5_000_000 }, { inside: 1 }, { code: '42703' }]);
      },
      SCRIPT_SPEC_MS,
    );
  });
});
