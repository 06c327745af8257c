// The self-description of an API, and what is read of one that another node has sent.

import { describe, expect, it } from '@jest/globals';
import { toStandardJsonSchema } from '@valibot/to-json-schema';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import { defineApi, stream } from '../../../lib/messages/api/definition.js';
import {
  describeApi,
  digestOf,
  MAX_DESCRIPTION_BYTES,
  readDescription,
} from '../../../lib/messages/api/description.js';

const person = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };

describe('the self-description of an API', () => {
  const api = defineApi({
    name: 'greeter',
    short: 'Greets people',
    version: '1.2.0',
    commands: {
      zod: { number: 1, description: 'Says hello.', idempotent: true, input: z.object({ name: z.string() }) },
      arktype: { number: 2, input: stream(type({ name: 'string' })), output: stream() },
      valibot: { number: 3, input: toStandardJsonSchema(v.object({ name: v.string() })) },
      bare: { number: 4, input: v.object({ name: v.string() }) },
      dates: { number: 5, input: z.date() },
    },
  });
  const description = describeApi(api);

  it('is plain JSON, with the JSON Schemas that the libraries give', () => {
    expect(JSON.parse(JSON.stringify(description))).toEqual(description);
    expect(description).toMatchObject({ name: 'greeter', short: 'Greets people', long: '', version: '1.2.0' });
    expect(description.commands['zod']).toMatchObject({ number: 1, description: 'Says hello.', idempotent: true });
    for (const name of ['zod', 'arktype', 'valibot']) {
      expect(description.commands[name].input.schema).toMatchObject(person);
    }
  });

  it('says what is a stream', () => {
    expect(description.commands['arktype']).toMatchObject({ input: { stream: true }, output: { stream: true } });
    expect(description.commands['zod']).toMatchObject({ input: { stream: false }, output: { stream: false } });
  });

  it('leaves out what has no JSON Schema', () => {
    expect(description.commands['bare'].input).toEqual({ stream: false });
    expect(description.commands['dates'].input).toEqual({ stream: false });
  });

  it('describes what travels: with defaults and transformations not applied', () => {
    const { commands } = describeApi(
      defineApi({
        name: 'x',
        version: '1',
        commands: { a: { number: 1, output: z.object({ n: z.string().transform(Number), d: z.number().default(3) }) } },
      }),
    );
    expect(commands['a'].output.schema).toMatchObject({ properties: { n: { type: 'string' } }, required: ['n'] });
  });

  it('goes without schemas where it would be too long', () => {
    const long = z.object({ a: z.string().describe('x'.repeat(MAX_DESCRIPTION_BYTES)) });
    const { commands } = describeApi(
      defineApi({ name: 'x', version: '1', commands: { a: { number: 1, input: long } } }),
    );
    expect(commands['a'].input).toEqual({ stream: false });
  });

  it('is read as it was sent', () => {
    expect(readDescription(JSON.parse(JSON.stringify(description)))).toEqual({
      ...description,
      commands: Object.assign(Object.create(null), description.commands),
    });
  });
});

describe('the digest of an API', () => {
  const of = (commands: object) => digestOf(describeApi(defineApi({ name: 'x', version: '1', commands } as never)));
  const digest = of({ a: { number: 1 }, b: { number: 2 } });

  it('does not depend on texts, schemas and order', () => {
    expect(of({ b: { number: 2, description: 'b' }, a: { number: 1, input: z.string() } })).toBe(digest);
  });

  it.each([
    ['another number', { a: { number: 3 }, b: { number: 2 } }],
    ['another name', { c: { number: 1 }, b: { number: 2 } }],
    ['a stream', { a: { number: 1, input: stream() }, b: { number: 2 } }],
    ['one more command', { a: { number: 1 }, b: { number: 2 }, c: { number: 3 } }],
  ])('differs with %s', (_what, commands) => {
    expect(of(commands)).not.toBe(digest);
  });
});

describe('the description of another node', () => {
  const read = (commands: unknown) => readDescription({ name: 'x', version: '1', commands });

  it.each([
    undefined,
    null,
    3,
    'x',
    [],
    {},
    { commands: 3 },
    { commands: { a: 3 } },
    { commands: { a: { input: 3 } } },
  ])('is refused when it is %j', (value) => {
    const refused = () => readDescription(value);
    if (JSON.stringify(value)?.includes('"input"')) expect(refused().commands).toEqual({});
    else expect(refused).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_API' }));
  });

  it('loses commands that cannot be called, and fields that are not known', () => {
    const { commands } = read({
      a: { number: 1, future: true },
      'a b': { number: 2 },
      call: { number: 3 },
      zero: { number: 0 },
      __proto__: { number: 4 },
    });
    expect({ ...commands }).toEqual({
      a: { number: 1, description: '', idempotent: false, input: { stream: false }, output: { stream: false } },
    });
  });

  it('is idempotent only where it says exactly that', () => {
    expect(read({ a: { number: 1, idempotent: 'yes' } }).commands['a'].idempotent).toBe(false);
  });

  it('has a bounded number of commands', () => {
    const commands = Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [`c${at}`, { number: at + 1 }]));
    expect(() => read(commands)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_API' }));
  });
});
