// pg with its option `stream`, against a real PostgreSQL. It connects the stream that it is given by itself, so that is a
// Socket of `node.net`.

import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { POSTGRES, type PostgresServer, startPostgres } from './postgres-server.js';
import { publish } from './publish.js';
import { describeWithPrograms } from './server-program.js';

const ROWS = 100_000;
const QUERY_CANCELED = '57014';

/** 20 MB in the text format of COPY. */
function* rows(): Generator<string> {
  for (let id = 0; id < ROWS; id += 100) {
    let text = '';
    for (let row = id; row < id + 100; row++) text += `${row}\t${String(row).padStart(200, 'x')}\n`;
    yield text;
  }
}

/** Not in the declarations of pg. */
interface Canceller {
  cancel(client: pg.Client, query: pg.Query): void;
}

describeWithPrograms('pg', POSTGRES, () => {
  const nodes = linkedNodes();
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 90_000);
  afterAll(() => server.stop());
  beforeEach(() => {
    publish(nodes.listener, 'postgres', server);
  });

  function config(): pg.ClientConfig {
    const { net } = nodes.joiner;
    return { host: 'postgres', user: 'postgres', database: 'postgres', stream: () => new net.Socket() };
  }

  async function connected(options: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ ...config(), ...options });
    client.on('error', () => {}); // Specs check the errors of queries.
    nodes.finally(() => client.end());
    await within('connect', client.connect());
    return client;
  }

  /** Resolved when as many backends run something like `text`. */
  async function untilRunning(client: pg.Client, text: string, count: number): Promise<void> {
    const question = 'select count(*)::int from pg_stat_activity where query like $1 and pid <> pg_backend_pid()';
    for (;;) {
      const result = await client.query(`${question} and state = 'active'`, [`${text}%`]);
      if (result.rows[0].count === count) return;
    }
  }

  it('queries, with parameters and prepared', async () => {
    const client = await connected();
    const { rows } = await within('select', client.query('select $1::int + 1 as sum, $2::text as word', [41, 'ü']));
    expect(rows).toEqual([{ sum: 42, word: 'ü' }]);
    const statement = { name: 'double', text: 'select $1::int * 2 as twice' };
    const queries = Array.from({ length: 1000 }, (_, value) => client.query({ ...statement, values: [value] }));
    const answers = await within('the prepared ones', Promise.all(queries));
    expect(answers.map((answer) => answer.rows[0].twice)).toEqual(queries.map((_, value) => value * 2));
  });

  it('fails a wrong query and goes on', async () => {
    const client = await connected();
    await within('the refusal', expect(client.query('select nothing')).rejects.toMatchObject({ code: '42703' }));
    expect((await within('select', client.query('select 1 as one'))).rows).toEqual([{ one: 1 }]);
  });

  it('copies 20 MB in and out', async () => {
    const client = await connected();
    await within('create', client.query('create temporary table lines (id int, line text)'));
    const input = client.query(copyFrom('copy lines from stdin'));
    const sent = createHash('sha256');
    const source = Readable.from(rows(), { objectMode: true }).on('data', (text: string) => sent.update(text));
    await within('copy in', pipeline(source, input));
    const { rows: counted } = await within('count', client.query('select count(*)::int from lines'));
    expect(counted).toEqual([{ count: ROWS }]);
    const received = createHash('sha256');
    await within('copy out', pipeline(client.query(copyTo('copy lines to stdout')), received));
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('cancels a query over a separate socket', async () => {
    const client = await connected();
    const query = client.query(new pg.Query('select pg_sleep(600)'));
    const failed = emitted<Error>(query, 'error');
    await within('the query', untilRunning(await connected(), 'select pg_sleep', 1));
    (new pg.Client(config()) as unknown as Canceller).cancel(client, query);
    expect(await within('the error', failed)).toMatchObject({ code: QUERY_CANCELED });
    expect((await within('select', client.query('select 1 as one'))).rows).toEqual([{ one: 1 }]);
  });

  it('keeps transactions apart', async () => {
    const [writer, reader] = [await connected(), await connected()];
    await within('create', writer.query('create table accounts (id int primary key, sum int)'));
    nodes.finally(() => reader.query('drop table accounts'));
    await within('insert', writer.query('insert into accounts values (1, 100)'));
    const sum = async (client: pg.Client): Promise<number> =>
      (await within('select', client.query('select sum from accounts'))).rows[0].sum;

    await within('update', writer.query('begin; update accounts set sum = 50'));
    expect([await sum(writer), await sum(reader)]).toEqual([50, 100]);
    await within('rollback', writer.query('rollback'));
    expect(await sum(writer)).toBe(100);

    await within('update', writer.query('begin; update accounts set sum = sum + 1'));
    const second = reader.query('update accounts set sum = sum + 1'); // Waits for the lock.
    // A third client looks: inside a transaction the activity of others is a snapshot.
    await within('the wait for the lock', untilRunning(await connected(), 'update accounts', 1));
    await within('commit', writer.query('commit'));
    await within('the second update', second);
    expect(await sum(writer)).toBe(102);
  });

  it('receives notifications', async () => {
    const [subscriber, publisher] = [await connected(), await connected()];
    const received = emitted<pg.Notification>(subscriber, 'notification');
    await within('listen', subscriber.query('listen news'));
    await within('notify', publisher.query("notify news, 'it rains'"));
    expect(await within('the notification', received)).toMatchObject({ channel: 'news', payload: 'it rains' });
  });

  it('speaks TLS inside the socket', async () => {
    const { cert } = await certificateFor('postgres');
    const client = await connected({ ssl: { ca: cert } });
    const { rows } = await within('select', client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()'));
    expect(rows).toEqual([{ ssl: true }]);
    const large = await within('a large answer', client.query("select repeat('x', 5000000) as text"));
    expect(large.rows[0].text).toHaveLength(5_000_000);
  });

  it('rejects a TLS server that it does not trust, with the cause', async () => {
    const client = new pg.Client({ ...config(), ssl: true });
    await within(
      'the refusal',
      expect(client.connect()).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
    );
  });

  it('ends a query with an error when the link is lost, and the server ends it too', async () => {
    const client = await connected();
    const query = expect(client.query('select pg_sleep(601)')).rejects.toMatchObject({ code: 'ECONNRESET' });
    await within('the query', untilRunning(await connected(), 'select pg_sleep', 1));
    nodes.cut();
    await within('the error', query);
    await within('the end of the query', untilRunning(await connected(), 'select pg_sleep', 0));
  });

  it('gives a pool a new connection after a lost link', async () => {
    const pool = new pg.Pool({ ...config(), max: 4 });
    pool.on('error', () => {});
    nodes.finally(() => pool.end());
    const queries = Array.from({ length: 50 }, (_, number) => pool.query('select $1::int as number', [number]));
    const answers = await within('50 queries', Promise.all(queries));
    expect(answers.map((answer) => answer.rows[0].number)).toEqual(queries.map((_, number) => number));
    const lost = emitted<Error>(pool, 'error');
    nodes.cut();
    expect(await within('the lost connections', lost)).toMatchObject({ code: 'ECONNRESET' });
    expect((await within('a new one', pool.query('select 1 as one'))).rows).toEqual([{ one: 1 }]);
  });
});
