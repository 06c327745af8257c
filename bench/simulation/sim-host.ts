// A machine of the simulation: an address, a kernel that answers, and at most one process that listens.

import type { Place } from './paths.js';
import type { Random } from './random.js';
import type { SimLinks } from './sim-links.js';

export const LISTEN_PORT = 4000;
const SOURCE_PORT = 50_000;

export class SimHost implements Place {
  readonly x: number;
  readonly y: number;
  readonly address: string;
  /** The source address of its outbound connections: nothing listens there. */
  readonly sourceAddress: string;
  extraMs = 0;
  side = 0;
  /** False: no answer to anything, as after a power cut. */
  isUp = true;
  /** Of the process that listens, if one does. */
  links: SimLinks | undefined;

  constructor(
    readonly index: number,
    random: Random,
    readonly isReachable = true,
  ) {
    this.x = random.next();
    this.y = random.next();
    const ip = `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`;
    this.address = `tcp://${ip}:${LISTEN_PORT}`;
    this.sourceAddress = `tcp://${ip}:${SOURCE_PORT}`;
  }

  get isListening(): boolean {
    return this.isReachable && this.links !== undefined;
  }
}
