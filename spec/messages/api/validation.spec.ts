// What a check by a schema returns and throws, with schemas of three libraries and with hostile ones.

import { describe, expect, it } from '@jest/globals';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import type { StandardSchema } from '../../../lib/messages/api/standard-schema.js';
import { checked, isPromise, readIssues, SchemaError } from '../../../lib/messages/api/validation.js';

const SCHEMAS: ReadonlyArray<[string, StandardSchema]> = [
  ['zod', z.object({ user: z.object({ age: z.number() }) })],
  ['valibot', v.object({ user: v.object({ age: v.number() }) })],
  ['arktype', type({ user: { age: 'number' } })],
];

function thrown(check: () => unknown): SchemaError {
  try {
    check();
  } catch (error) {
    return error as SchemaError;
  }
  throw new Error('nothing was thrown');
}

describe.each(SCHEMAS)('a schema of %s', (_library, schema) => {
  it('returns what fits at once', () => {
    expect(checked(schema, { user: { age: 3 } }, 'input', 'not-handled')).toEqual({ user: { age: 3 } });
  });

  it('says where a value does not fit', () => {
    const error = thrown(() => checked(schema, { user: { age: 'three' } }, 'input of hello', 'not-handled'));
    expect(error).toBeInstanceOf(SchemaError);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_SCHEMA', outcome: 'not-handled' });
    expect(error.issues).toEqual([{ path: ['user', 'age'], message: expect.stringMatching(/number/i) }]);
    expect(error.message).toMatch(/input of hello: user\.age: /);
  });
});

describe('a check', () => {
  it('returns everything without a schema', () => {
    expect(checked(undefined, { any: 1 }, 'input', 'handled')).toEqual({ any: 1 });
  });

  it('waits for a schema that is asynchronous', async () => {
    const schema = z.string().refine(async (text) => text !== 'taken', 'is taken');
    const pending = checked(schema, 'free', 'input', 'not-handled');
    expect(isPromise(pending)).toBe(true);
    expect(await pending).toBe('free');
    await expect(checked(schema, 'taken', 'input', 'not-handled')).rejects.toMatchObject({
      issues: [{ path: [], message: 'is taken' }],
    });
  });

  it('makes a SchemaError of what code in a schema throws', async () => {
    const throwing = standard(() => {
      throw new Error('broken');
    });
    expect(thrown(() => checked(throwing, 1, 'input', 'not-handled')).issues[0].message).toMatch(/broken/);
    const rejecting = standard(() => Promise.reject(new Error('broken later')));
    await expect(checked(rejecting, 1, 'input', 'handled')).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'handled',
    });
  });

  it('bounds the issues, their texts and their paths', () => {
    const issue = {
      message: 'x'.repeat(10_000),
      path: Array.from({ length: 1_000 }, () => ({ key: 'y'.repeat(1_000) })),
    };
    const schema = standard(() => ({ issues: Array.from({ length: 1_000 }, () => issue) }));
    const { issues } = thrown(() => checked(schema, 1, 'input', 'not-handled'));
    expect(issues).toHaveLength(32);
    expect(issues[0].message).toHaveLength(500);
    expect(issues[0].path).toHaveLength(32);
    expect(String(issues[0].path[0])).toHaveLength(200);
  });

  it('names symbols of a path', () => {
    const schema = standard(() => ({ issues: [{ message: 'no', path: [Symbol('s'), 3] }] }));
    expect(thrown(() => checked(schema, 1, 'input', 'not-handled')).issues[0].path).toEqual(['Symbol(s)', 3]);
  });
});

describe('issues of another node', () => {
  it.each([undefined, null, 3, 'x', {}, [null], [{ message: { a: 1 }, path: 3 }], [{ path: [{}, null] }]])(
    'are read from %j without harm',
    (value) => {
      for (const { message, path } of readIssues(value)) {
        expect(typeof message).toBe('string');
        expect(path.every((key) => typeof key === 'string' || typeof key === 'number')).toBe(true);
      }
    },
  );
});

function standard(validate: StandardSchema['~standard']['validate']): StandardSchema {
  return { '~standard': { version: 1, vendor: 'spec', validate } };
}
