// Reads starlane.yaml: its text and its sections.

import { createReadStream } from 'node:fs';
import { codeOf } from '../../errors.js';
import { ExitCode, Failure, usage } from '../failure.js';
import { readYaml } from './yaml.js';

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
  const [{ hasSection, schemaOf }, { loadCommands }] = await Promise.all([
    import('./schema.js'),
    import('../catalog.js'),
  ]);
  const commands = await loadCommands();
  const top = { ...readYaml(text, schemaOf(commands), path) };
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
