// Reads YAML of people: its text, its structure, and for each fault the line.

import { LineCounter, parseDocument } from 'yaml';
import type { ZodType, z } from 'zod';
import { usage } from '../failure.js';
import { inWords } from '../flags.js';

/** What an alias may make of a text. */
const MAX_ALIASES = 100;

/**
 * Returns what a text holds, checked. `where` names it in errors: `PATH:LINE: KEY: what is wrong`; without `hasLines`, as for a text that
 * nobody has in lines, `PATH: KEY: what is wrong`.
 * @throws Failure
 */
export function readYaml<T>(text: string, schema: ZodType<T>, where: string, hasLines = true): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: true });
  const placed = (offset: number | undefined): string =>
    hasLines && offset !== undefined ? `${where}:${lines.linePos(offset).line}` : where;
  const [fault] = document.errors;
  if (fault !== undefined) {
    throw usage(`${placed(fault.pos[0])}: ${fault.message.split('\n')[0].replace(/ at line.*$/, '')}`);
  }
  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw usage(`${where}: ${(error as Error).message}`);
  }
  const checked = schema.safeParse(content ?? {});
  if (checked.success) return checked.data;
  const issue = deepest(checked.error.issues[0]);
  const at = [...issue.path];
  if (issue.code === 'unrecognized_keys') at.push(issue.keys[0]);
  const node = document.getIn(at, true) as { range?: [number, number, number] } | undefined;
  const key = at.join('.');
  const what = issue.code === 'unrecognized_keys' ? 'unknown key' : plain(issue.message);
  throw usage(`${placed(node?.range?.[0])}: ${key === '' ? '' : `${key}: `}${what}`);
}

/** Returns the issue that says most: of the kinds that a value may have, the one that fits best. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  const best = inner.reduce<z.core.$ZodIssue | undefined>(
    (found, other) => (found === undefined || other.path.length > found.path.length ? other : found),
    undefined,
  );
  if (best !== undefined && best.path.length > 0) return { ...best, path: [...issue.path, ...best.path] };
  const kinds = issue.errors.flat().flatMap((other) => (other.code === 'invalid_type' ? [kind(other.expected)] : []));
  if (kinds.length === 0) return issue;
  return { ...issue, message: `must be ${inWords([...new Set(kinds)])}` };
}

/** Returns a message of zod in the words of this project. */
function plain(message: string): string {
  return message
    .replace(
      /^Invalid input: expected (\w+), received (\w+)$/,
      (_all, expected, received) => `must be ${kind(expected)}, not ${kind(received)}`,
    )
    .replace(/^Invalid input$/, 'has the wrong type');
}

function kind(name: string): string {
  const word = name === 'int' ? 'number' : name === 'record' ? 'object' : name;
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}
