// The configuration file: what it may hold, and which line is at fault.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { loadCommands } from '../../../lib/cli/catalog.js';
import { readConfigFile } from '../../../lib/cli/config/file.js';
import { jsonSchemaOf } from '../../../lib/cli/config/schema.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-config-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function written(text: string): string {
  const path = join(folder, 'starlane.yaml');
  writeFileSync(path, text);
  return path;
}

const WHOLE = `
# a machine of a network
listen: [':7400']
join: tls://10.0.0.1:7400
drain-timeout: 20s
log: json
publish:
  web: { port: 3000, weight: 2 }
  db:
    unix: /run/db.sock
forward:
  6379:redis:
  5432:db: { bind: 0.0.0.0 }
`;

describe('a configuration file', () => {
  it('has flags of the node at the top, and a section for each command', async () => {
    const { top, sections } = await readConfigFile(written(WHOLE));
    expect(top).toEqual({
      listen: [':7400'],
      join: 'tls://10.0.0.1:7400',
      'drain-timeout': '20s',
      log: 'json',
    });
    expect(Object.fromEntries(sections)).toEqual({
      publish: { web: { port: 3000, weight: 2 }, db: { unix: '/run/db.sock' } },
      forward: { '6379:redis': null, '5432:db': { bind: '0.0.0.0' } },
    });
  });

  it('may list entries that need no flags', async () => {
    const { sections } = await readConfigFile(written("forward: ['6379:redis', '80:web']"));
    expect(sections.get('forward')).toEqual({ '6379:redis': null, '80:web': null });
  });

  it('may have sections whose entries are all comments', async () => {
    const { sections } = await readConfigFile(written('publish:\n  # web: { port: 3000 }\nmetrics:\n'));
    expect([...sections]).toEqual([
      ['publish', {}],
      ['metrics', {}],
    ]);
  });

  it('is read to its limit only', async () => {
    await expect(readConfigFile('/dev/zero')).rejects.toThrow('/dev/zero: has more than 1048576 bytes');
    await expect(readConfigFile(folder)).rejects.toThrow(`${folder}: cannot be read (EISDIR)`);
  });

  it('may be empty', async () => {
    expect((await readConfigFile(written('# nothing\n'))).top).toEqual({});
  });

  it.each([
    ['listn: x', ':1: listn: unknown key'],
    ['role: king', /:1: role: .*peer/],
    ['publish:\n  web:\n    prot: 80', ':3: publish.web.prot: unknown key'],
    ['publish:\n  web:\n    port: many', /:3: publish.web.port: must be a number, not a string$/],
    ['a: [1', /:1: /],
    ['listen: 5', /:1: listen: must be a string or an array$/],
    ['forward: 6379:redis', /:1: forward: must be an object or an array$/],
    ['log: json\nlog: text', /:2: Map keys must be unique/],
    ['- a', /must be an object, not an array/],
  ])('with %j names the line', async (text, message) => {
    const path = written(text);
    const expected = typeof message === 'string' ? `${path}${message}` : expect.stringMatching(message);
    await expect(readConfigFile(path)).rejects.toMatchObject({ message: expected, exitCode: 2 });
  });

  it('does not expand aliases without end', async () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]`;
    await expect(readConfigFile(written(bomb))).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('the schema for editors', () => {
  it('accepts what the command accepts, and has a key for every flag', async () => {
    const commands = await loadCommands();
    const schema = jsonSchemaOf(commands);
    const validate = new Ajv({ strict: false }).compile(schema);
    expect(validate(parse(WHOLE))).toBe(true);
    expect(validate({ listn: 1 })).toBe(false);
    const text = JSON.stringify(schema);
    for (const { name } of commands.filter(({ section }) => section === 'entries')) expect(text).toContain(`"${name}"`);
  });
});
