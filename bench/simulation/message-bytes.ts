// How many bytes a message takes on the wire, without encoding it: messages pass from node to node as the objects they
// are. A spec compares this with the encoder.

import { BUCKETS, recordCopyBytes } from '../../lib/wire/gossip-messages.js';
import { encodeMessageOf, type Message, MessageType } from '../../lib/wire/messages.js';

/** Length and type. */
const ENVELOPE_BYTES = 5;
const HASH_BYTES = 8;
const KEY_BYTES = 12;
const ENTRY_BYTES = KEY_BYTES + 8 + HASH_BYTES;

/** A frame of the session around it; several messages of one turn share one, which is not counted. */
export const FRAME_BYTES = 12;

export function messageBytes(message: Message): number {
  switch (message.type) {
    case MessageType.RECORDS: {
      let bytes = ENVELOPE_BYTES;
      for (const { record } of message.records) bytes += recordCopyBytes(record);
      return bytes;
    }
    case MessageType.DIGEST:
      return ENVELOPE_BYTES + HASH_BYTES + 4;
    case MessageType.BUCKETS:
      return ENVELOPE_BYTES + HASH_BYTES * BUCKETS;
    case MessageType.ENTRIES:
      return ENVELOPE_BYTES + 1 + BUCKETS / 8 + 2 + ENTRY_BYTES * message.entries.length;
    case MessageType.WANT:
      return ENVELOPE_BYTES + 1 + 2 + KEY_BYTES * message.keys.length;
    case MessageType.SYNCED:
      return ENVELOPE_BYTES;
    default:
      // Few of a link: HELLO and GOODBYE.
      return encodeMessageOf(message).length;
  }
}
