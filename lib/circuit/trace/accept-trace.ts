// A circuit that comes in, and that somebody watches: its events on the tracing channel `starlane:accept`, and its span. The span is that of
// the server's 'connection' listeners, which run in its context, as do all events of the socket; its parent is the span of the dial.

import type { NodeId } from '../../address.js';
import { type NetErrorCode, netError } from '../../errors.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import { type AcceptEvent, acceptChannel } from '../../util/diagnostics.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import type { Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import { ReplyCode } from '../../wire/open-reply.js';
import { decodeTraceContext, type TraceContext } from '../../wire/trace-context.js';
import { errorType } from './dial-trace.js';
import { type Attributes, hasTracer, Span, SpanKind } from './open-telemetry.js';

interface AcceptTraceHost {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  /** Returns the transport of the link to a neighbour, as OpenTelemetry names it. */
  transportTo(neighbour: NodeId): string | undefined;
}

/** Returns what traces a circuit to this node; null when nobody watches. */
export function traceAccept(host: AcceptTraceHost, open: Open, remote: RemoteEndpoint): AcceptTrace | null {
  return acceptChannel.hasSubscribers || hasTracer() ? new AcceptTrace(host, open, remote) : null;
}

export class AcceptTrace {
  private readonly event: AcceptEvent;
  private readonly startedMs: number;
  private readonly startTime = dateNow();
  private context: TraceContext | undefined;

  constructor(
    private readonly host: AcceptTraceHost,
    { service, dstPort, trace }: Open,
    remote: RemoteEndpoint,
  ) {
    const { peerId, via, isSecure = false } = remote;
    this.startedMs = host.timers.now();
    this.event = {
      nodeId: host.nodeId,
      service,
      port: dstPort,
      peerId,
      via,
      secure: isSecure,
      durationMs: 0,
    };
    if (trace !== undefined) this.onContext(trace);
  }

  /** Takes the trace context of the dial. */
  onContext(bytes: Uint8Array): void {
    this.context = decodeTraceContext(bytes);
  }

  /** Calls `emit`, which emits 'connection'. Call this in the context of the server. */
  accept(emit: () => void, { isSecure = false }: RemoteEndpoint): void {
    const { event } = this;
    event.secure = isSecure;
    const span = this.begin(event.service);
    try {
      acceptChannel.start.runStores(event, () => (span === undefined ? emit() : span.enter(emit)));
    } catch (error) {
      event.error = error as Error;
      acceptChannel.error.publish(event);
      throw error;
    } finally {
      acceptChannel.end.publish(event);
      span?.end({ 'error.type': event.error && errorType(event.error) }, event.error);
    }
  }

  /** @param code a ReplyCode */
  refuse(code: number, reason: string): void {
    const { event } = this;
    const { service: address, port } = event;
    const cause = reason === '' ? undefined : new Error(reason);
    const error = netError(netCodeOf(code), 'accept', { address, port }, cause);
    event.error = error;
    // What is not bound can have any name, and names of spans have to be few.
    const span = this.begin(code === ReplyCode.REFUSED ? '' : address);
    acceptChannel.start.publish(event);
    acceptChannel.error.publish(event);
    acceptChannel.end.publish(event);
    span?.end({ 'error.type': errorType(error) }, error);
  }

  private begin(spanName: string): Span | undefined {
    const { event, host, startedMs, startTime, context } = this;
    const { nodeId, service, port, peerId, via, secure } = event;
    event.durationMs = host.timers.now() - startedMs;
    if (!hasTracer()) return undefined;
    const attributes: Attributes = {
      'network.protocol.name': 'starlane',
      'network.transport': host.transportTo(via[0] ?? peerId),
      'server.address': service === '' ? `@${nodeId}` : service,
      'server.port': port === 0 ? undefined : port,
      'starlane.node.id': nodeId,
      'starlane.peer.id': peerId,
      'starlane.service': service === '' ? undefined : service,
      'starlane.via': via,
      'starlane.secure': secure,
    };
    const name = spanName === '' ? 'starlane accept' : `starlane accept ${spanName}`;
    // The clock of the span is finer than this one, which only counts where the circuit has waited.
    const waited = event.durationMs >= 1 ? startTime : undefined;
    return Span.start(name, { kind: SpanKind.SERVER, attributes, startTime: waited }, context);
  }
}

function netCodeOf(code: number): NetErrorCode {
  switch (code) {
    case ReplyCode.DENIED:
      return 'EACCES';
    case ReplyCode.INSECURE:
    case ReplyCode.REPEATED:
    case ReplyCode.CLOCK:
      return 'EHOSTUNREACH';
    default:
      return 'ECONNREFUSED';
  }
}
