// Reads starlane.yaml: its text, its structure, and for each fault the line.

import { createReadStream } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { codeOf } from '../../errors.js';
import { ExitCode, Failure, usage } from '../failure.js';
import { inWords } from '../flags.js';

const MAX_FILE_BYTES = 1024 * 1024;

/** A file that has been read and checked. */
export interface ConfigFile {
  readonly path: string | undefined;
  /** For errors: `starlane.yaml: `. */
  readonly where: string;
  readonly top: Readonly<Record<string, unknown>>;
  /** By the names of commands. A list of names became an object. */
  readonly sections: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

export const NO_FILE: ConfigFile = { path: undefined, where: '', top: {}, sections: new Map() };

/** @throws Failure with the path, and the line where one is at fault */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = await textOf(path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: true });
  const [fault] = document.errors;
  if (fault !== undefined) {
    const { line } = lines.linePos(fault.pos[0]);
    throw usage(`${path}:${line}: ${fault.message.split('\n')[0].replace(/ at line.*$/, '')}`);
  }
  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw usage(`${path}: ${(error as Error).message}`);
  }
  const [{ hasSection, schemaOf }, { loadCommands }] = await Promise.all([
    import('./schema.js'),
    import('../catalog.js'),
  ]);
  const commands = await loadCommands();
  const checked = schemaOf(commands).safeParse(content ?? {});
  if (!checked.success) {
    const issue = deepest(checked.error.issues[0]);
    const at = [...issue.path];
    if (issue.code === 'unrecognized_keys') at.push(issue.keys[0]);
    const node = document.getIn(at, true) as { range?: [number, number, number] } | undefined;
    const line = node?.range === undefined ? undefined : lines.linePos(node.range[0]).line;
    const key = at.join('.');
    const what = issue.code === 'unrecognized_keys' ? 'unknown key' : plain(issue.message);
    throw usage(`${path}${line === undefined ? '' : `:${line}`}: ${key === '' ? '' : `${key}: `}${what}`);
  }
  const top = { ...checked.data };
  const sections = new Map<string, Readonly<Record<string, unknown>>>();
  for (const { name } of commands.filter(hasSection)) {
    if (!Object.hasOwn(top, name)) continue;
    const section = top[name] ?? {};
    delete top[name];
    sections.set(
      name,
      Array.isArray(section)
        ? Object.fromEntries(section.map((key) => [key, null]))
        : (section as Record<string, unknown>),
    );
  }
  return { path, where: `${path}: `, top, sections };
}

async function textOf(path: string): Promise<string> {
  // Its size is not asked for: a pipe has none, and a device may have no end.
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_FILE_BYTES) throw usage(`${path}: has more than ${MAX_FILE_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`${path}: cannot be read (${codeOf(error)})`, ExitCode.USAGE);
  }
  return Buffer.concat(chunks).toString();
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
