// The schema of the configuration file, which follows from the flags of the commands.

import { z } from 'zod';
import type { Command } from '../command.js';
import { type Flag, type Flags, kebab } from '../flags.js';
import { NODE_FLAGS } from '../run/node-flags.js';
import { SHARED_FLAGS } from '../shared-flags.js';

const LONGEST_NAME = 255;

/** Whether the file may have a section of that name. */
export function hasSection({ flags, section }: Command): boolean {
  return section === 'entries' || keysOf(flags).length > 0;
}

/** Returns the schema of a file for these commands. */
export function schemaOf(commands: readonly Command[]): z.ZodType<Record<string, unknown>> {
  const sections = commands
    .filter(hasSection)
    .map((command) => [command.name, sectionOf(command).optional().describe(command.summary)] as const);
  return z
    .strictObject({ ...shapeOf(SHARED_FLAGS), ...shapeOf(NODE_FLAGS), ...Object.fromEntries(sections) })
    .describe('Configuration of the command starlane');
}

/** Returns the JSON Schema for editors. */
export function jsonSchemaOf(commands: readonly Command[]): object {
  const schema = z.toJSONSchema(schemaOf(commands), { io: 'input', target: 'draft-7' });
  return { $id: 'https://unpkg.com/starlane/docs/starlane.schema.json', title: 'starlane.yaml', ...schema };
}

function sectionOf({ flags, section }: Command): z.ZodType {
  if (section !== 'entries') return z.strictObject(shapeOf(flags)).nullable();
  const entry = z.strictObject(shapeOf(flags)).nullable();
  const named = z.record(z.string().min(1).max(LONGEST_NAME), entry);
  return z.union([named, z.array(z.string().min(1).max(LONGEST_NAME))]).nullable();
}

function keysOf(flags: Flags): readonly string[] {
  return Object.keys(flags).filter((name) => flags[name].inFile !== false);
}

function shapeOf(flags: Flags): Record<string, z.ZodType> {
  return Object.fromEntries(
    keysOf(flags).map((name) => [
      kebab(name),
      flagValueOf(flags[name]).nullable().optional().describe(flags[name].about),
    ]),
  );
}

function flagValueOf({ kind, choices, min, max, fields, object }: Flag): z.ZodType {
  const text = choices === undefined ? z.string() : z.enum(choices as [string, ...string[]]);
  switch (kind) {
    case 'text':
      if (object !== undefined) return z.union([text, object(z)]);
      // A port or a version is a number for YAML.
      return choices === undefined ? z.union([text, z.number(), z.boolean()]) : text;
    case 'list': {
      const entry = fields === undefined ? text : z.union([text, entryOf(fields)]);
      return z.union([entry, z.array(entry)]);
    }
    case 'boolean':
      return z.boolean();
    case 'integer':
      return z
        .int()
        .min(min ?? Number.MIN_SAFE_INTEGER)
        .max(max ?? Number.MAX_SAFE_INTEGER);
    case 'duration':
      return z.union([z.number(), z.string()]);
  }
}

/** An entry of a list that has fields. */
function entryOf(fields: readonly string[]): z.ZodType {
  const value = z.union([z.string(), z.array(z.string())]);
  return z.strictObject(Object.fromEntries(fields.map((name) => [name, value.nullable().optional()])));
}
