// Names of envs: nodes tell digests only, and those that this node has heard of can be named.

import { envDigests } from '../wire/messages.js';

export class EnvNames {
  private readonly names = new Map<string, string>();

  constructor(names: readonly string[]) {
    this.learn(names);
  }

  learn(names: readonly string[]): void {
    // None at all would be the env without a name.
    if (names.length === 0) return;
    for (const [index, digest] of envDigests(names).entries()) this.names.set(digest, names[index]);
  }

  /** Those whose names are known. */
  of(digests: readonly string[]): string[] {
    const known: string[] = [];
    for (const digest of digests) {
      const name = this.names.get(digest);
      if (name !== undefined && !known.includes(name)) known.push(name);
    }
    return known;
  }
}
