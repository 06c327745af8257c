// What records are made of: the types, the lengths, and why they are what they are.

/** The numbers are the wire: append only. */
export const RecordType = {
  /** Bytes of the user, one at least. */
  DATA: 0,
  /** The sender will send no more. Empty. */
  END: 1,
  /** The first record of the dialler: it is there, now, and has the keys. Empty. */
  CONFIRM: 2,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export const HEADER_BYTES = 4;
export const TAG_BYTES = 16;

/** What a record adds to its plaintext. */
export const RECORD_OVERHEAD = HEADER_BYTES + TAG_BYTES;

/**
 * The longest plaintext of a record, in bytes. Half of the window that a hop of a relayed circuit begins with: what has
 * arrived of a record, its overhead aside, must be less than the half whose return lets credit flow. A cipher costs 3 us to set
 * up: of 16 KiB that were a third more for each byte, and at 64 KiB the caches are missed.
 */
export const MAX_PLAIN_BYTES = 32 * 1024;

/** Far below the 2^32 records after which GCM becomes weak, and often enough that a key that is found opens little. */
export const RECORDS_PER_KEY = 2 ** 20;
