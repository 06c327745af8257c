// What the preamble of a call says: which command, how long the caller waits, and what each end streams.

import { messageError } from '../../outcome.js';
import { isCommandNumber } from '../definition.js';
import { DESCRIBE } from '../description.js';

export interface CallHeader {
  /** Equal at both ends. */
  readonly id: string;
  readonly command: number;
  /** What is left of the time of the caller, in ms; undefined without a limit. */
  readonly timeoutMs: number | undefined;
  readonly streamsInput: boolean;
  readonly streamsOutput: boolean;
}

const MAX_ID = 64;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export function encodeHeader({ id, command, timeoutMs, streamsInput, streamsOutput }: CallHeader): Buffer {
  return Buffer.from(JSON.stringify({ id, command, timeoutMs, streamsInput, streamsOutput }));
}

/** @throws ERR_STARLANE_MESSAGE_PROTOCOL */
export function decodeHeader(bytes: Buffer): CallHeader {
  let read: Partial<Record<keyof CallHeader, unknown>> | null;
  try {
    read = JSON.parse(bytes.toString());
  } catch {
    read = null;
  }
  const { id, command, timeoutMs, streamsInput, streamsOutput } = read ?? {};
  if (
    typeof id !== 'string' ||
    id === '' ||
    id.length > MAX_ID ||
    !(isCommandNumber(command) || command === DESCRIBE)
  ) {
    throw messageError('ERR_STARLANE_MESSAGE_PROTOCOL', 'not-handled', 'a call without an id or a command');
  }
  const limit = typeof timeoutMs === 'number' && timeoutMs >= 0 ? Math.min(timeoutMs, MAX_TIMEOUT_MS) : undefined;
  return {
    id,
    command,
    timeoutMs: limit,
    streamsInput: streamsInput === true,
    streamsOutput: streamsOutput === true,
  };
}
