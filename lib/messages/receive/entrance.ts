// Where circuits of messages come in: reads the preamble of each, within a time and with a limit for each sender, and passes it on.

import { kRemote } from '../../mux/hidden.js';
import { certifiedOf, type RemoteEndpoint } from '../../socket/endpoints.js';
import type { Socket } from '../../socket/socket.js';
import { Deadline } from '../../util/deadline.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { Timers } from '../../util/timers.js';
import { type Preamble, readPreamble } from '../wire/preamble.js';
import type { Sender } from './incoming.js';

/** From the first moment of a circuit to the end of its preamble. */
const PREAMBLE_MS = 5_000;
/** Circuits without a preamble, of all senders and of one. */
const MAX_PENDING = 512;
const MAX_PENDING_PER_SENDER = 64;

export interface EntranceHost {
  readonly timers: Timers;
  /** Whether the nodes of this network prove who they are, also over relays: it has a secret or members. */
  readonly hasProofs: boolean;
  /** A sender has broken the protocol. */
  onMalformed(sender: Sender, error: Error): void;
  /** Called with a circuit whose preamble was read. `rest`: what came with it. @throws MalformedFrame */
  onCircuit(socket: Socket, sender: Sender, preamble: Preamble, rest: Buffer): void;
}

export class Entrance {
  private readonly pending = new Map<string, number>();
  private size = 0;

  constructor(private readonly host: EntranceHost) {}

  accept(socket: Socket): void {
    socket.unref();
    socket.on('error', ignore);
    const sender = senderOf(socket, this.host.hasProofs);
    const ofSender = this.pending.get(sender.key) ?? 0;
    if (this.size >= MAX_PENDING || ofSender >= MAX_PENDING_PER_SENDER) {
      socket.destroy();
      return;
    }
    this.size++;
    this.pending.set(sender.key, ofSender + 1);
    withoutContext(() => this.read(socket, sender));
  }

  private read(socket: Socket, sender: Sender): void {
    let bytes: Buffer | undefined;
    const onData = (chunk: Buffer): void => {
      bytes = bytes === undefined ? chunk : Buffer.concat([bytes, chunk]);
      let isRead = false;
      try {
        const read = readPreamble(bytes);
        if (read === undefined) return;
        isRead = true;
        over();
        this.host.onCircuit(socket, sender, read.preamble, bytes.subarray(read.bytes));
      } catch (error) {
        this.host.onMalformed(sender, error as Error);
        if (!isRead) over();
        socket.destroy();
      }
    };
    const over = (): void => {
      deadline.clear();
      socket.removeListener('data', onData);
      socket.removeListener('close', over);
      this.size--;
      const left = (this.pending.get(sender.key) ?? 1) - 1;
      if (left === 0) this.pending.delete(sender.key);
      else this.pending.set(sender.key, left);
    };
    const deadline = new Deadline(this.host.timers, () => {
      over();
      socket.destroy();
    });
    deadline.set(PREAMBLE_MS);
    socket.on('data', onData);
    socket.once('close', over);
  }
}

/**
 * Returns who is at the other end. Without proofs a node counts by the id that it names: over a link that is its own, over relays it is not,
 * and a message that comes by another way than the last one must not count as that of another sender.
 */
export function senderOf(socket: Socket, hasProofs: boolean): Sender {
  const remote = socket[kRemote] as RemoteEndpoint;
  const { name, tags } = certifiedOf(remote);
  const { peerId, isVerified } = remote;
  return { nodeId: peerId, isVerified, name, tags, key: isVerified || !hasProofs ? peerId : `?${peerId}` };
}

function ignore(): void {}
