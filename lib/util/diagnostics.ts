// What a node publishes through node:diagnostics_channel: for tracers, metrics and logs that nobody has to build into a program. The
// channels are of the process; each event names its node. Without a subscriber, a dial costs a look at a few flags.
//
// A subscriber that throws becomes an uncaught exception of the process, in a later tick, as Node has it: no link and no dial notices.

import { channel, tracingChannel } from 'node:diagnostics_channel';

/** The context of a dial on the tracing channel `starlane:dial`. One object for all of its events, which fill it in. */
export interface DialEvent {
  /** The id of the node that dials. */
  readonly nodeId: string;
  /** The service that is dialled; empty for a bare port. */
  readonly service: string;
  /** The virtual port that is dialled; undefined: any. */
  readonly port: number | undefined;
  /** The id of the node that was asked last, which has answered if the dial is connected; undefined when none was. */
  peerId: string | undefined;
  /** Nodes asked so far. */
  attempts: number;
  /** The ids of the relays in between, nearest first; undefined until the dial is connected, empty on a direct link. */
  via: readonly string[] | undefined;
  /** Whether the circuit is encrypted from end to end; undefined until the dial is connected. */
  secure: boolean | undefined;
  /** From the call to the end of the dial, in ms; undefined until then. */
  durationMs: number | undefined;
  /** Why the dial failed, with a code of {@link ERRORS}; missing unless it did. */
  error?: Error;
}

/** The context of a circuit that comes in, on the tracing channel `starlane:accept`. One object for all of its events. */
export interface AcceptEvent {
  /** The id of the node that accepts or refuses. */
  readonly nodeId: string;
  /** The service that was dialled; empty for a bare port. */
  readonly service: string;
  /** The virtual port that was dialled; 0: any. */
  readonly port: number;
  /** The id of the node that has dialled. */
  readonly peerId: string;
  /** The ids of the relays in between, nearest first. */
  readonly via: readonly string[];
  /** Whether the circuit is encrypted from end to end. */
  secure: boolean;
  /** From the arrival of the dial to 'connection' or the refusal, in ms: what `allow`, rate limits and proofs have taken. */
  durationMs: number;
  /** Why it was refused; missing unless it was. */
  error?: Error;
}

/** A link that is up, or is up no more, on `starlane:link` and `starlane:unlink`. */
export interface LinkEvent {
  /** The id of this node. */
  readonly nodeId: string;
  /** The id of the node at the other end. */
  readonly peerId: string;
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly direction: 'inbound' | 'outbound';
  /** How long it was up, in ms; 0 on `starlane:link`. */
  readonly durationMs: number;
  /** Why it was lost; undefined on `starlane:link`, and when this node has closed it. */
  readonly reason: Error | undefined;
}

/** A circuit of other nodes through this one, on `starlane:relay`. */
export interface RelayEvent {
  /** The id of this node. */
  readonly nodeId: string;
  /** `close` follows `open`, and is only published for circuits whose `open` was. */
  readonly type: 'open' | 'refuse' | 'close';
  /** The ids of the node that has dialled and of the one that is dialled. */
  readonly sourceId: string;
  readonly destinationId: string;
  /** With `refuse`, why. With `close`, whether a link or a limit has ended it: `lost`; empty otherwise. */
  readonly reason: string;
}

/** A node that prepares its end, on `starlane:drain`. */
export interface DrainEvent {
  /** The id of the node. */
  readonly nodeId: string;
  /** `end`: the last circuit of another node has ended. */
  readonly type: 'begin' | 'end';
  /** Circuits of other nodes that are open. */
  readonly circuits: number;
}

export const dialChannel = tracingChannel<object, DialEvent>('starlane:dial');
export const acceptChannel = tracingChannel<object, AcceptEvent>('starlane:accept');
export const linkChannel = channel('starlane:link');
export const unlinkChannel = channel('starlane:unlink');
export const relayChannel = channel('starlane:relay');
export const drainChannel = channel('starlane:drain');

/** Publishes an event that is made only where somebody wants it. */
export function publish<Event>(to: typeof linkChannel, make: () => Event): void {
  if (to.hasSubscribers) to.publish(make());
}
