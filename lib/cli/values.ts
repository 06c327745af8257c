// What the user has set: flags beat the environment, and the environment beats the file.

import { type Flags, fileValue, kebab, parseValue, type ValuesOf, variableOf } from './flags.js';

export interface ValueSources {
  /** What commander has read: by the names of the flags. */
  readonly commandLine: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A section of the file: by the names of the flags as people write them. */
  readonly section: Readonly<Record<string, unknown>>;
  /** Names that section in errors: `starlane.yaml: publish.web`. */
  readonly where: string;
}

/** @param command empty for flags of every command @throws Failure */
export function resolveValues<F extends Flags>(command: string, flags: F, sources: ValueSources): ValuesOf<F> {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const given = sources.commandLine[name];
    const variable = variableOf(command, name, flag);
    const text = sources.environment[variable];
    const fromFile = flag.inFile === false ? undefined : sources.section[kebab(name)];
    if (typeof given === 'boolean') values[name] = given;
    else if (typeof given === 'string' || Array.isArray(given))
      values[name] = parseValue(flag, given, `--${kebab(name)}`);
    else if (text !== undefined && text !== '') {
      // Lists in the environment may also be separated by white space, as for the library.
      values[name] = parseValue(flag, flag.kind === 'list' ? text.split(/\s+/) : text, variable);
    } else if (fromFile !== undefined && fromFile !== null) {
      values[name] = fileValue(flag, fromFile, `${sources.where}${kebab(name)}`);
    } else values[name] = undefined;
  }
  return values as ValuesOf<F>;
}
