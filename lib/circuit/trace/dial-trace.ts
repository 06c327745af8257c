// A dial that somebody watches: its events on the tracing channel `starlane:dial`, and its span. Dials that nobody watches have none.

import { AsyncResource } from 'node:async_hooks';
import type { NodeId } from '../../address.js';
import { codeOf } from '../../errors.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import { type DialEvent, dialChannel } from '../../util/diagnostics.js';
import type { Timers } from '../../util/timers.js';
import { encodeTraceContext, type TraceContext } from '../../wire/trace-context.js';
import type { DialTarget } from '../dial/dial-target.js';
import { type Attributes, hasTracer, Span, SpanKind } from './open-telemetry.js';

/** What a dial needs to be traced. */
interface DialHost {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  /** Returns the transport of the link to a neighbour, as OpenTelemetry names it. */
  transportTo(neighbour: NodeId): string | undefined;
}

/** Returns what traces a dial, in the context of the caller; null when nobody watches. */
export function traceDial(host: DialHost, target: DialTarget): DialTrace | null {
  return dialChannel.hasSubscribers || hasTracer() ? new DialTrace(host, target) : null;
}

export class DialTrace {
  private readonly event: DialEvent;
  private readonly startedMs: number;
  /** Events come in the context of the caller. */
  private readonly scope = new AsyncResource('STARLANEDIAL');
  private readonly span: Span | undefined;
  private context: TraceContext | null | undefined = null;
  private isEnded = false;

  constructor(
    private readonly host: DialHost,
    { service, port, name }: DialTarget,
  ) {
    this.startedMs = host.timers.now();
    this.event = {
      nodeId: host.nodeId,
      service,
      port,
      peerId: undefined,
      attempts: 0,
      via: undefined,
      secure: undefined,
      durationMs: undefined,
    };
    const attributes: Attributes = {
      'network.protocol.name': 'starlane',
      'server.address': name === '' ? `@${host.nodeId}` : name,
      'server.port': port,
      'starlane.node.id': host.nodeId,
      'starlane.service': service === '' ? undefined : service,
    };
    // The ids of nodes are attributes: names of spans have to be few.
    const spanName = service === '' ? 'starlane dial' : `starlane dial ${service}`;
    this.span = Span.start(spanName, { kind: SpanKind.CLIENT, attributes });
  }

  /** Calls `run`, the part of the dial that happens at once. */
  start(run: () => void): void {
    const { event } = this;
    try {
      dialChannel.start.runStores(event, run);
    } finally {
      dialChannel.end.publish(event);
    }
  }

  /** Called when a node is asked. */
  onAttempt(nodeId: NodeId): void {
    this.event.peerId = nodeId;
    this.event.attempts++;
  }

  /** Returns the trace context for the other end in at most `maxBytes`; undefined when there is none. */
  contextBytes(maxBytes: number): Buffer | undefined {
    if (this.context === null) this.context = this.span?.traceContext();
    return this.context === undefined ? undefined : encodeTraceContext(this.context, maxBytes);
  }

  /** Called ahead of 'connect'. */
  onConnected({ peerId, via, isSecure = false }: RemoteEndpoint): void {
    const { event } = this;
    event.peerId = peerId;
    event.via = via;
    event.secure = isSecure;
    this.end(undefined);
  }

  /** Called ahead of 'error'. */
  onFailed(error: Error): void {
    this.end(error);
  }

  private end(error: Error | undefined): void {
    if (this.isEnded) return;
    this.isEnded = true;
    const { event, host, span } = this;
    event.durationMs = host.timers.now() - this.startedMs;
    if (error !== undefined) event.error = error;
    this.scope.runInAsyncScope(() => {
      if (error !== undefined) dialChannel.error.publish(event);
      dialChannel.asyncStart.publish(event);
      dialChannel.asyncEnd.publish(event);
      if (span === undefined) return;
      const { peerId, via, secure, attempts } = event;
      const neighbour = via?.[0] ?? peerId;
      const attributes = {
        'network.transport': neighbour === undefined ? undefined : host.transportTo(neighbour),
        'starlane.peer.id': peerId,
        'starlane.via': via,
        'starlane.secure': secure,
        'starlane.attempts': attempts,
        'error.type': error === undefined ? undefined : errorType(error),
      };
      span.end(attributes, error);
    });
  }
}

/** Returns the value of the attribute error.type, of which there are few. */
export function errorType(error: Error): string {
  return codeOf(error) ?? error.name;
}
