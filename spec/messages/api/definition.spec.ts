// What a definition of an API may say, and what it must not.

import { describe, expect, it } from '@jest/globals';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import { defineApi, stream } from '../../../lib/messages/api/definition.js';

const base = { name: 'greeter', version: '1.0.0' };
// biome-ignore lint/suspicious/noExplicitAny: these are definitions that do not compile.
const define = (definition: any) => () => defineApi(definition);

describe('a definition', () => {
  it('takes schemas of zod, valibot and arktype, for values and for items of streams', () => {
    const api = defineApi({
      ...base,
      commands: {
        zod: { number: 1, input: z.object({ name: z.string() }) },
        valibot: { number: 2, output: v.object({ name: v.string() }) },
        arktype: { number: 3, input: stream(type({ name: 'string' })), output: stream() },
      },
    });
    expect(Object.keys(api.commands)).toEqual(['zod', 'valibot', 'arktype']);
    expect(api).toMatchObject({ name: 'greeter', short: '', long: '', version: '1.0.0' });
  });

  it('cannot be changed afterwards', () => {
    const api = defineApi({ ...base, commands: { hello: { number: 1 } } });
    expect(() => Object.assign(api, { name: 'other' })).toThrow(TypeError);
    expect(() => Object.assign(api.commands, { other: { number: 2 } })).toThrow(TypeError);
    expect(() => Object.assign(api.commands.hello, { number: 2 })).toThrow(TypeError);
  });

  it.each([
    ['a name that is none of a service', { ...base, name: 'a b', commands: {} }, /name/],
    ['no version', { name: 'x', commands: {} }, /version/],
    ['a version with spaces', { ...base, version: '1 2', commands: {} }, /version/],
    ['a short text that is long', { ...base, short: 'x'.repeat(201), commands: {} }, /short/],
    ['a text that is none', { ...base, long: 3, commands: {} }, /long/],
    ['no commands', { ...base }, /commands/],
    ['number 0, which is the self-description', { ...base, commands: { a: { number: 0 } } }, /number/],
    ['a number that is no integer', { ...base, commands: { a: { number: 1.5 } } }, /number/],
    ['a number beyond 32 bits', { ...base, commands: { a: { number: 2 ** 32 } } }, /number/],
    ['one number twice', { ...base, commands: { a: { number: 7 }, b: { number: 7 } } }, /a has the number 7/],
    ['a command named with a space', { ...base, commands: { 'a b': { number: 1 } } }, /a b/],
    ['a command named as a method of clients', { ...base, commands: { call: { number: 1 } } }, /call/],
    [
      'a command that would make clients promises',
      { ...base, commands: Object.fromEntries([['then', { number: 1 }]]) },
      /then/,
    ],
    [
      'a schema that is none',
      { ...base, commands: { a: { number: 1, input: { type: 'object' } } } },
      /Standard Schema/,
    ],
    [
      'a stream of what is no schema',
      { ...base, commands: { a: { number: 1, output: stream(3 as never) } } },
      /Standard/,
    ],
    ['a handler that is no function', { ...base, commands: { a: { number: 1, handler: 3 } } }, /handler/],
    [
      'a description that is long',
      { ...base, commands: { a: { number: 1, description: 'x'.repeat(2_001) } } },
      /descri/,
    ],
    ['too many commands', { ...base, commands: many(1_001) }, /1000/],
  ])('is refused with %s', (_what, definition, message) => {
    expect(define(definition)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_API', message: expect.stringMatching(message) }),
    );
  });
});

function many(count: number): Record<string, { number: number }> {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`c${at}`, { number: at + 1 }]));
}
