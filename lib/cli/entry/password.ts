// The name and the password that clients of a proxy have to give.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codeOf } from '../../errors.js';
import { usage } from '../failure.js';
import { flag } from '../flags.js';

const MAX_BYTES = 255;

export const PASSWORD_FLAGS = {
  user: flag.text('the name that clients have to give', { value: 'NAME' }),
  passwordFile: flag.text('a file with the password that clients have to give, in its first line', { value: 'FILE' }),
} as const;

export class Password {
  private readonly expected: Buffer;

  constructor(user: string, password: string) {
    this.expected = digestOf(user, password);
  }

  /** Takes the same time for every wrong one. */
  isRight(user: string, password: string): boolean {
    return timingSafeEqual(this.expected, digestOf(user, password));
  }

  /** Returns what the flags ask for, undefined without them. @throws Failure */
  static of(command: string, user: string | undefined, file: string | undefined): Password | undefined {
    if (user === undefined && file === undefined) return undefined;
    if (user === undefined || file === undefined) throw usage(`${command}: --user and --password-file go together`);
    let password: string;
    try {
      password = readFileSync(file, 'utf8').split(/\r?\n/)[0];
    } catch (error) {
      throw usage(`--password-file: ${file} cannot be read (${codeOf(error)})`);
    }
    // RFC 1929 counts in one byte; a colon would end the name in HTTP.
    if (password === '' || Buffer.byteLength(password) > MAX_BYTES)
      throw usage(`--password-file: the first line must have 1 to ${MAX_BYTES} bytes`);
    if (user.includes(':') || Buffer.byteLength(user) > MAX_BYTES)
      throw usage(`--user: must have no colon, and at most ${MAX_BYTES} bytes`);
    return new Password(user, password);
  }
}

function digestOf(user: string, password: string): Buffer {
  return createHash('sha256').update(`${user}\0${password}`).digest();
}
