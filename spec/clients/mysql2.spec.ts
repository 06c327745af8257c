// mysql2 with its option `stream`, against a real MariaDB.

import { createHash, randomBytes } from 'node:crypto';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { createConnection } from 'mysql2';
import mysql, { type Connection, type ConnectionOptions, type Pool, type RowDataPacket } from 'mysql2/promise';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { MARIADB, type MariadbServer, startMariadb } from './mariadb-server.js';
import { publish } from './publish.js';
import { describeWithPrograms } from './server-program.js';

const MIB = 1024 * 1024;
const ROWS = 100_000;

describeWithPrograms('mysql2', MARIADB, () => {
  const nodes = linkedNodes();
  let server: MariadbServer;
  beforeAll(async () => {
    server = await startMariadb();
  }, 90_000);
  afterAll(() => server.stop());
  beforeEach(() => {
    publish(nodes.listener, 'mariadb', { path: server.path });
  });

  function config(): ConnectionOptions {
    return { user: 'root', database: 'test', stream: () => nodes.joiner.dial('mariadb') };
  }

  async function connected(): Promise<Connection> {
    const connection = await within('connect', mysql.createConnection(config()));
    connection.on('error', () => {}); // Specs check the errors of queries.
    nodes.finally(() => connection.destroy());
    return connection;
  }

  /** The rows that answer a query. */
  async function rows(connection: Connection | Pool, sql: string, values: unknown[] = []): Promise<RowDataPacket[]> {
    const [answer] = await within(sql, connection.query<RowDataPacket[]>(sql, values));
    return answer;
  }

  /** Resolved with the id of the connection that runs something like `text`. */
  async function running(connection: Connection, text: string): Promise<number> {
    for (;;) {
      const found = await rows(
        connection,
        'select id from information_schema.processlist where info like ? and id <> connection_id()',
        [`${text}%`],
      );
      if (found.length > 0) return found[0].id;
    }
  }

  it('queries', async () => {
    const connection = await connected();
    expect(await rows(connection, "select 41 + 1 as sum, 'ü€' as word")).toEqual([{ sum: 42, word: 'ü€' }]);
    await connection.end();
  });

  it('fails a wrong query and goes on', async () => {
    const connection = await connected();
    await expect(rows(connection, 'select nothing')).rejects.toMatchObject({ code: 'ER_BAD_FIELD_ERROR' });
    expect(await rows(connection, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('prepares statements', async () => {
    const connection = await connected();
    const statement = await within('prepare', connection.prepare('select ? * 2 as twice, ? as bytes'));
    for (let value = 0; value < 200; value++) {
      const bytes = randomBytes(100);
      const [answer] = await within('execute', statement.execute([value, bytes]));
      expect(answer).toMatchObject([{ twice: value * 2, bytes }]);
    }
    await statement.close();
  });

  it('carries blobs of 20 MiB both ways', async () => {
    const connection = await connected();
    const blob = randomBytes(20 * MIB);
    await within('create', connection.query('create temporary table blobs (body longblob)'));
    await within('insert', connection.query('insert into blobs values (?)', [blob]));
    const [{ body }] = await rows(connection, 'select body from blobs');
    expect(blob.equals(body)).toBe(true);
  });

  it('streams a large result row by row, while another socket works', async () => {
    const connection = createConnection(config());
    nodes.finally(() => connection.destroy());
    const other = await connected();
    const sql = `select seq, repeat('x', 500) as text from seq_1_to_${ROWS}`;
    let count = 0;
    let sum = 0;
    const counting = new Transform({
      objectMode: true,
      transform(row: { seq: number; text: string }, _encoding, done) {
        count++;
        sum += row.seq;
        if (count === 1000) {
          // The stream has to wait until another connection has answered.
          rows(other, 'select 1 as one').then(() => done(), done);
        } else done();
      },
    });
    await within('the rows', pipeline(connection.query(sql).stream(), counting.resume()));
    expect([count, sum]).toEqual([ROWS, (ROWS * (ROWS + 1)) / 2]);
  });

  it('loads a file of 10 MB that the client streams', async () => {
    const connection = await connected();
    const sent = createHash('sha256');
    const lines = function* (): Generator<Buffer> {
      for (let id = 0; id < ROWS; id += 100) {
        let text = '';
        for (let line = id; line < id + 100; line++) text += `${line}\t${String(line).padStart(100, 'x')}\n`;
        sent.update(text);
        yield Buffer.from(text);
      }
    };
    await within('create', connection.query('create temporary table texts (id int, line char(100))'));
    const load = {
      sql: "load data local infile 'texts' into table texts",
      infileStreamFactory: () => Readable.from(lines()),
    };
    await within('load', connection.query(load));
    const received = createHash('sha256');
    for (const { id, line } of await rows(connection, 'select id, line from texts order by id')) {
      received.update(`${id}\t${line}\n`);
    }
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('rolls a transaction back', async () => {
    const [writer, reader] = [await connected(), await connected()];
    await within('create', writer.query('create or replace table accounts (sum int) engine=innodb'));
    await within('insert', writer.query('insert into accounts values (100)'));
    await within('begin', writer.beginTransaction());
    await within('update', writer.query('update accounts set sum = 50'));
    expect(await rows(writer, 'select sum from accounts')).toEqual([{ sum: 50 }]);
    expect(await rows(reader, 'select sum from accounts')).toEqual([{ sum: 100 }]);
    await within('rollback', writer.rollback());
    expect(await rows(writer, 'select sum from accounts')).toEqual([{ sum: 100 }]);
  });

  it('ends a query from another socket', async () => {
    const [sleeping, killing] = [await connected(), await connected()];
    const refused = expect(
      sleeping.query('select count(*) from seq_1_to_1000000 a, seq_1_to_1000000 b'),
    ).rejects.toMatchObject({
      code: 'ER_QUERY_INTERRUPTED',
    });
    const id = await within('the query', running(killing, 'select count'));
    await rows(killing, 'kill query ?', [id]);
    await within('the error', refused);
    expect(await rows(sleeping, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('ends a query with an error when the link is lost', async () => {
    const connection = await connected();
    const refused = expect(connection.query('select sleep(600)')).rejects.toMatchObject({ code: 'ECONNRESET' });
    await within('the query', running(await connected(), 'select sleep'));
    nodes.cut();
    await within('the error', refused);
  });

  it('gives a pool a new connection after a lost link', async () => {
    const pool = mysql.createPool({ ...config(), connectionLimit: 4 });
    nodes.finally(() => pool.end());
    const queries = Array.from({ length: 50 }, (_, number) => rows(pool, 'select ? as number', [number]));
    expect(await Promise.all(queries)).toEqual(queries.map((_, number) => [{ number }]));
    const unlinked = emitted(nodes.joiner, 'unlink');
    nodes.cut();
    await within('the loss', unlinked);
    expect(await rows(pool, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('gets an error for a service that does not exist', async () => {
    const stream = (): unknown => nodes.joiner.dial('nowhere', { timeoutMs: 20 });
    const refused = expect(mysql.createConnection({ ...config(), stream })).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
    await within('the refusal', refused);
  });
});
