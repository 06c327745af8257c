// Checks values by schemas, at both ends. What travels is the value that was given; each end uses what the schema makes of it.

import { ERRORS } from '../../errors.js';
import { MessageError, type Outcome } from '../outcome.js';
import type { StandardIssue, StandardResult, StandardSchema } from './standard-schema.js';

/** What is wrong with a value, at one place in it. */
export interface SchemaIssue {
  /** In words of the library of the schema, up to 500 characters. */
  readonly message: string;
  /** Keys and indexes from the outside to the inside. */
  readonly path: readonly (string | number)[];
}

const MAX_ISSUES = 32;
const MAX_ISSUE_TEXT = 500;
const MAX_PATH = 32;

/**
 * ERR_STARLANE_SCHEMA: an input or output does not fit the schema of its command. An input that its schema refuses is 'not-handled'; where an
 * output or an item does not fit, a handler has run, and it is 'handled'.
 */
export class SchemaError extends MessageError {
  constructor(
    outcome: Outcome,
    /** What does not fit, and the first issue in words. */
    readonly detail: string,
    /** All that does not fit, up to 32. */
    readonly issues: readonly SchemaIssue[],
    options?: ErrorOptions,
  ) {
    super('ERR_STARLANE_SCHEMA', outcome, `${ERRORS.ERR_STARLANE_SCHEMA.message}: ${detail}`, options);
  }
}

/**
 * Returns what the schema makes of the value; at once if the schema is synchronous, else as a promise.
 * @param what names the value in the error: `input of hello`
 * @throws SchemaError, or rejects with it
 */
export function checked(
  schema: StandardSchema | undefined,
  value: unknown,
  what: string,
  outcome: Outcome,
): unknown | Promise<unknown> {
  if (schema === undefined) return value;
  let result: StandardResult<unknown> | Promise<StandardResult<unknown>>;
  try {
    result = schema['~standard'].validate(value);
  } catch (error) {
    throw failedCheck(error, what, outcome);
  }
  if (!isPromise(result)) return checkedValue(result, what, outcome);
  return result.then(
    (settled) => checkedValue(settled, what, outcome),
    (error: unknown) => {
      throw failedCheck(error, what, outcome);
    },
  );
}

/** Whether a value is a promise, also of another library. */
export function isPromise<T>(value: T | PromiseLike<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

/** Returns issues of the other end, which may send anything. */
export function readIssues(value: unknown): readonly SchemaIssue[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_ISSUES).map((issue: { message?: unknown; path?: unknown } | null | undefined) => ({
    message: String(issue?.message ?? '').slice(0, MAX_ISSUE_TEXT),
    path: pathOf(Array.isArray(issue?.path) ? issue.path : []),
  }));
}

function checkedValue(result: StandardResult<unknown>, what: string, outcome: Outcome): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, MAX_ISSUES).map(issueOf);
  throw new SchemaError(outcome, `${what}: ${inWords(issues)}`, issues);
}

/** A schema with code of its own, such as a refinement, may throw. */
function failedCheck(error: unknown, what: string, outcome: Outcome): SchemaError {
  const message = `the check has failed: ${String((error as Error)?.message ?? error).slice(0, MAX_ISSUE_TEXT)}`;
  return new SchemaError(outcome, `${what}: ${message}`, [{ message, path: [] }], { cause: error });
}

function issueOf({ message, path = [] }: StandardIssue): SchemaIssue {
  const keys = path.map((part) => (typeof part === 'object' && part !== null ? part.key : part));
  return { message: String(message).slice(0, MAX_ISSUE_TEXT), path: pathOf(keys) };
}

function pathOf(keys: readonly unknown[]): readonly (string | number)[] {
  // Those of arktype are of a class of its own.
  return Array.from(keys)
    .slice(0, MAX_PATH)
    .map((key) => (typeof key === 'number' ? key : String(key).slice(0, 200)));
}

function inWords(issues: readonly SchemaIssue[]): string {
  const [{ message, path } = { message: 'it does not fit', path: [] }] = issues;
  const more = issues.length > 1 ? `, and ${issues.length - 1} more` : '';
  return `${path.length === 0 ? '' : `${path.join('.')}: `}${message}${more}`;
}
