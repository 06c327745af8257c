// The options of a session, each with its default and the reason for it.

import { starlaneError } from '../errors.js';
import { sharedTimers, type Timers } from '../util/timers.js';
import { CONTROL_QUEUE_BYTES } from './send/output.js';

export interface SessionOptions {
  /** Whether this side is the client, which opens odd stream ids, or the server, which opens even ones. A link has one of each. */
  client: boolean;
  /**
   * Streams that the peer has opened and this side has not accepted yet; one more is answered with RST.
   * 1 to 1,000,000, default 256, as hashicorp/yamux.
   */
  acceptBacklog: number;
  /**
   * Opens of this side that the peer has not acknowledged; further opens wait. 1 to Infinity, default 256: a hashicorp/yamux
   * peer resets opens beyond its own backlog of 256.
   */
  maxUnackedOpens: number;
  /** Streams that the peer may have open at once; one more is answered with RST. Default 1,048,576. */
  maxStreams: number;
  /**
   * The longest data frame, in bytes; a longer one ends the session with ERR_STARLANE_PROTOCOL. 65,536 to 4,294,967,295, which
   * is the default and the most that a header can hold: windows bound what matters, and the specification has no other limit.
   */
  maxFrameBytes: number;
  /**
   * Frames without payload (answers to pings, credit, resets) that may wait while the peer does not read, in bytes; more
   * end the session with ERR_STARLANE_CONTROL_FLOOD. 65,536 to 1 GiB, default 16 MiB, which is 1.4 million frames.
   */
  controlQueueBytes: number;
  /** How far the receive window of one stream may grow, in bytes. 262,144 to 1 GiB, default 16 MiB. */
  maxWindowBytes: number;
  /**
   * Bytes by which all windows together may have grown, and bytes of all streams together that may be delivered and unread.
   * Beyond the second limit, the stream with most unread bytes is reset. Default 256 MiB.
   */
  receiveBudgetBytes: number;
  /** Silence after which the peer is pinged, in ms; 0 for no keepalive. Default 15,000. */
  keepAliveMs: number;
  /** Silence after which the peer counts as gone, in ms. More than `keepAliveMs`. Default 30,000. */
  keepAliveTimeoutMs: number;
  /** Time that the peer has to acknowledge an open, in ms; 0 for no limit. Default 75,000, as hashicorp/yamux. */
  openTimeoutMs: number;
  /**
   * Time that the peer has to end a stream that this side has given up, and time that close() waits for open streams, in ms.
   * Default 60,000.
   */
  closeTimeoutMs: number;
  /**
   * Whether the peer is Starlane as well: then a FIN may be on a data frame, and stream ids are reused after 2^31 opens. A
   * hashicorp/yamux peer may report the end before the data, and does not expect an id a second time.
   * @internal
   */
  starlanePeer: boolean;
  /** The first stream id to try. @internal */
  firstStreamId: number;
  /** @internal */
  timers: Timers;
}

export const DEFAULT_SESSION_OPTIONS: Readonly<Omit<SessionOptions, 'client'>> = Object.freeze({
  acceptBacklog: 256,
  maxUnackedOpens: 256,
  maxStreams: 1_048_576,
  maxFrameBytes: 0xffff_ffff,
  controlQueueBytes: CONTROL_QUEUE_BYTES,
  maxWindowBytes: 16 * 1024 * 1024,
  receiveBudgetBytes: 256 * 1024 * 1024,
  keepAliveMs: 15_000,
  keepAliveTimeoutMs: 30_000,
  openTimeoutMs: 75_000,
  closeTimeoutMs: 60_000,
  starlanePeer: false,
  firstStreamId: 1,
  timers: sharedTimers,
});

/** The range of each number above, as [least, most]. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  acceptBacklog: [1, 1_000_000],
  maxUnackedOpens: [1, Number.POSITIVE_INFINITY],
  maxStreams: [1, Number.POSITIVE_INFINITY],
  maxFrameBytes: [64 * 1024, 0xffff_ffff],
  controlQueueBytes: [64 * 1024, 1024 * 1024 * 1024],
  maxWindowBytes: [256 * 1024, 1024 * 1024 * 1024],
  receiveBudgetBytes: [256 * 1024, Number.POSITIVE_INFINITY],
  keepAliveMs: [0, 0x7fff_ffff],
  keepAliveTimeoutMs: [1, 0x7fff_ffff],
  openTimeoutMs: [0, 0x7fff_ffff],
  closeTimeoutMs: [1, 0x7fff_ffff],
  firstStreamId: [1, 0xffff_ffff],
};

/** @throws ERR_STARLANE_OPTION for an unknown option or a value out of its range */
export function resolveSessionOptions(
  options: { [Option in keyof SessionOptions]?: SessionOptions[Option] | undefined } & { client: boolean },
): SessionOptions {
  for (const name of Object.keys(options)) {
    if (name !== 'client' && !Object.hasOwn(DEFAULT_SESSION_OPTIONS, name)) {
      throw starlaneError('ERR_STARLANE_OPTION', `the session has no option '${name}'`);
    }
  }
  if (typeof options.client !== 'boolean') throw starlaneError('ERR_STARLANE_OPTION', 'client must be true or false');
  const resolved: SessionOptions = { ...DEFAULT_SESSION_OPTIONS, client: options.client };
  const values = resolved as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) values[name] = value;
  }
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = values[name];
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw starlaneError('ERR_STARLANE_OPTION', `${name} must be a number from ${least} to ${most}`);
    }
  }
  if (resolved.keepAliveMs >= resolved.keepAliveTimeoutMs) {
    throw starlaneError('ERR_STARLANE_OPTION', 'keepAliveMs must be less than keepAliveTimeoutMs');
  }
  return resolved;
}
