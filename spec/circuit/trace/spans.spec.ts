// Spans of OpenTelemetry, by the tracer that a program has registered, and the trace context across streams.

import { once } from 'node:events';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { context, propagation, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { NodeOptions, Socket } from '../../../lib/index.js';
import { createNode } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { RelayNet } from '../../support/relay-net.js';
import { turnsUntil } from '../../support/turns.js';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer('of the spec');
const contexts = new AsyncLocalStorageContextManager().enable();
let net: RelayNet | undefined;

beforeEach(() => {
  exporter.reset();
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(contexts);
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
});

afterEach(async () => {
  for (const api of [trace, context, propagation]) api.disable();
  await net?.close();
  net = undefined;
});

afterAll(() => provider.shutdown());

async function line(relays: number, node: NodeOptions = {}): Promise<RelayNet> {
  net = await RelayNet.line(relays, { node });
  return net;
}

const spans = (): ReadableSpan[] => exporter.getFinishedSpans();
const named = (name: string): ReadableSpan => {
  const span = spans().find((one) => one.name === name);
  if (span === undefined) throw new Error(`no ${name} among ${spans().map((one) => one.name)}`);
  return span;
};

/** Dials within a span of the caller, and does something within the listener. */
async function traced(network: RelayNet, options: object = {}): Promise<Socket> {
  network.last.bind('echo', (socket) => {
    tracer.startSpan('in the listener').end();
    socket.once('data', () => tracer.startSpan('with the data').end());
    socket.on('error', () => {});
  });
  await network.first.waitFor('echo');
  const socket = tracer.startActiveSpan('the caller', (span) => {
    const dialled = network.first.dial('echo', options);
    dialled.once('connect', () => tracer.startSpan("in 'connect'").end());
    span.end();
    return dialled;
  });
  socket.write('hello');
  await within('connect', once(socket, 'connect'));
  await turnsUntil('the spans', () => spans().length === 6);
  return socket;
}

const CASES = [
  [0, false],
  [0, true],
  [1, false],
  [1, true],
  [3, false],
] as const;

describe('with a tracer', () => {
  it.each(CASES)(
    'a dial over %d relays, encrypted: %s, and all that it leads to are one trace',
    async (relays, secure) => {
      const network = await line(relays);
      const socket = await traced(network, { secure });
      socket.destroy();
      const [caller, dial, accept] = ['the caller', 'starlane dial echo', 'starlane accept echo'].map(named) as [
        ReadableSpan,
        ReadableSpan,
        ReadableSpan,
      ];
      expect(new Set(spans().map((span) => span.spanContext().traceId))).toEqual(
        new Set([caller.spanContext().traceId]),
      );
      const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;
      expect(parentOf(dial)).toBe(caller.spanContext().spanId);
      expect(parentOf(named("in 'connect'"))).toBe(caller.spanContext().spanId);
      expect(parentOf(accept)).toBe(dial.spanContext().spanId);
      for (const name of ['in the listener', 'with the data']) {
        expect(parentOf(named(name))).toBe(accept.spanContext().spanId);
      }
      const via = network.nodes.slice(1, -1).map(({ id }) => id);
      expect(dial).toMatchObject({ kind: SpanKind.CLIENT, status: { code: SpanStatusCode.UNSET } });
      expect(dial.attributes).toEqual({
        'network.protocol.name': 'starlane',
        'server.address': 'echo',
        'starlane.service': 'echo',
        'starlane.node.id': network.first.id,
        'starlane.peer.id': network.last.id,
        'starlane.via': via,
        'starlane.secure': secure,
        'starlane.attempts': 1,
      });
      expect(accept).toMatchObject({ kind: SpanKind.SERVER, status: { code: SpanStatusCode.UNSET } });
      expect(accept.parentSpanContext?.isRemote).toBe(true);
      expect(accept.attributes).toMatchObject({
        'server.address': 'echo',
        'starlane.node.id': network.last.id,
        'starlane.peer.id': network.first.id,
        'starlane.via': [...via].reverse(),
        'starlane.secure': secure,
      });
    },
  );

  it('a dial to the node itself is traced as any other', async () => {
    const network = await line(0);
    network.first.bind('self', () => {});
    await within('connect', once(network.first.dial('self'), 'connect'));
    expect(named('starlane accept self').parentSpanContext?.spanId).toBe(
      named('starlane dial self').spanContext().spanId,
    );
  });

  it('the transport of the first link is an attribute, and the port that is dialled', async () => {
    const [client, server] = [createNode({ closeTimeoutMs: 50 }), createNode({ closeTimeoutMs: 50 })];
    const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
    await client.join(address);
    server.bind(':7', () => {});
    await within('connect', once(client.dial(`@${server.id}:7`), 'connect'));
    for (const name of ['starlane dial', 'starlane accept']) {
      expect(named(name).attributes).toMatchObject({
        'network.transport': 'tcp',
        'server.address': `@${server.id}`,
        'server.port': 7,
      });
    }
    await Promise.all([client.close(), server.close()]);
  });

  it('the tracestate arrives, as far as there is room for it', async () => {
    const network = await line(1);
    const states: Array<string | undefined> = [];
    network.last.bind('echo', () => states.push(trace.getSpanContext(context.active())?.traceState?.serialize()));
    await network.first.waitFor('echo');
    const long = `a=${'x'.repeat(100)},b=${'y'.repeat(100)},c=${'z'.repeat(250)}`;
    for (const [tracestate, secure] of [
      ['a=1,b=2', false],
      [long, true],
      [`${long},d=1`, true],
    ] as const) {
      const carrier = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate };
      const socket = context.with(propagation.extract(context.active(), carrier), () =>
        network.first.dial('echo', { secure }),
      );
      await within('connect', once(socket, 'connect'));
      const count = states.length;
      await turnsUntil('the circuit', () => states.length >= Math.max(1, count));
    }
    await turnsUntil('three circuits', () => states.length === 3);
    expect(states).toEqual(['a=1,b=2', long, `${long},d=1`]);
    expect(named('starlane accept echo').spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c');
  });

  it('a dial that is not sampled is not sampled at the other end either, and still is one trace', async () => {
    const network = await line(0);
    const seen: object[] = [];
    network.last.bind('echo', () => seen.push(trace.getSpanContext(context.active()) ?? {}));
    await network.first.waitFor('echo');
    const carrier = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00' };
    const socket = context.with(propagation.extract(context.active(), carrier), () => network.first.dial('echo'));
    await within('connect', once(socket, 'connect'));
    expect(spans()).toEqual([]);
    expect(seen).toMatchObject([{ traceId: '0af7651916cd43dd8448eb211c80319c', traceFlags: TraceFlags.NONE }]);
  });

  it('a dial that fails has an error at both ends', async () => {
    const network = await line(0);
    network.last.bind('secret', { allow: [] }, () => {});
    const socket = network.first.dial(`@${network.last.id}:9`);
    await within('error', once(socket, 'error'));
    const [dial, accept] = [named('starlane dial'), named('starlane accept')];
    for (const span of [dial, accept]) {
      expect(span.status.code).toBe(SpanStatusCode.ERROR);
      expect(span.attributes['error.type']).toBe('ECONNREFUSED');
      expect(span.events.map(({ name }) => name)).toEqual(['exception']);
    }
    expect(accept.parentSpanContext?.spanId).toBe(dial.spanContext().spanId);
    await turnsUntil('the service', () => network.first.services().length > 0);
    await within('error', once(network.first.dial('secret'), 'error'));
    expect(named('starlane accept secret').attributes['error.type']).toBe('EACCES');
  });

  it('the wait for a promise of allow is a part of the span', async () => {
    const network = await line(0);
    let permit: (() => void) | undefined;
    const allow = () => new Promise<boolean>((resolve) => (permit = () => resolve(true)));
    network.last.bind('slow', { allow }, () => {});
    await network.first.waitFor('slow');
    const socket = network.first.dial('slow');
    await turnsUntil('the question', () => permit !== undefined);
    const askedAt = Date.now();
    await turnsUntil('two milliseconds', () => Date.now() > askedAt + 3);
    permit?.();
    await within('connect', once(socket, 'connect'));
    const { startTime, endTime, parentSpanContext } = named('starlane accept slow');
    const tookMs = (endTime[0] - startTime[0]) * 1e3 + (endTime[1] - startTime[1]) / 1e6;
    expect(tookMs).toBeGreaterThanOrEqual(2);
    expect(parentSpanContext?.spanId).toBe(named('starlane dial slow').spanContext().spanId);
  });

  it('names of services that are not offered do not become names of spans', async () => {
    const network = await line(0);
    network.last.bind(':7', () => {});
    await within('error', once(network.first.dial(`@${network.last.id}:8`), 'error'));
    expect(
      spans()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['starlane accept', 'starlane dial']);
  });
});

describe('a trace context', () => {
  it('is not sent without a tracer, or by a program that propagates none', async () => {
    const network = await line(0);
    propagation.disable();
    const seen: Array<string | undefined> = [];
    network.last.bind('echo', () => seen.push(trace.getSpanContext(context.active())?.traceId));
    await network.first.waitFor('echo');
    await within('connect', once(network.first.dial('echo'), 'connect'));
    const [dial, accept] = [named('starlane dial echo'), named('starlane accept echo')];
    expect(accept.parentSpanContext).toBeUndefined();
    expect(accept.spanContext().traceId).not.toBe(dial.spanContext().traceId);
    expect(seen).toEqual([accept.spanContext().traceId]);
    trace.disable();
    exporter.reset();
    await within('connect', once(network.first.dial('echo'), 'connect'));
    expect(spans()).toEqual([]);
    expect(seen[1]).toBeUndefined();
  });

  it('links the two ends also in a program without a context manager', async () => {
    const network = await line(0);
    context.disable();
    network.last.bind('echo', () => {});
    await network.first.waitFor('echo');
    await within('connect', once(network.first.dial('echo'), 'connect'));
    expect(named('starlane accept echo').parentSpanContext?.spanId).toBe(
      named('starlane dial echo').spanContext().spanId,
    );
    context.setGlobalContextManager(contexts);
  });

  it('is only sent to nodes that read it', async () => {
    const network = await line(0);
    network.last.bind('echo', () => {});
    await network.first.waitFor('echo');
    const circuits = (network.first as never as { circuits: { security: { readsTraces(nodeId: string): boolean } } })
      .circuits;
    expect(circuits.security.readsTraces(network.last.id)).toBe(true);
    circuits.security.readsTraces = () => false;
    for (const secure of [false, true])
      await within('connect', once(network.first.dial('echo', { secure }), 'connect'));
    await turnsUntil('the spans', () => spans().length === 4);
    const accepts = spans().filter(({ name }) => name === 'starlane accept echo');
    expect(accepts.map(({ parentSpanContext }) => parentSpanContext)).toEqual([undefined, undefined]);
  });
});

describe('a tracer that throws', () => {
  it.each(['startSpan', 'inject', 'extract', 'end', 'with'])('in %s harms no dial', async (what) => {
    const fail = (): never => {
      throw new Error(`of ${what}`);
    };
    trace.disable();
    const span = {
      setAttributes: () => {},
      setStatus: () => {},
      recordException: () => {},
      end: () => (what === 'end' ? fail() : undefined),
      spanContext: () => ({ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 }),
    };
    trace.setGlobalTracerProvider({
      getTracer: () => ({ startSpan: () => (what === 'startSpan' ? fail() : span) }),
    } as never);
    if (what === 'inject' || what === 'extract') {
      propagation.disable();
      propagation.setGlobalPropagator({ fields: () => [], inject: () => {}, extract: (one) => one, [what]: fail });
    }
    if (what === 'with') {
      context.disable();
      context.setGlobalContextManager({
        active: () => contexts.active(),
        with: fail,
        bind: (_context, target) => target,
        enable() {
          return this;
        },
        disable() {
          return this;
        },
      });
    }
    const network = await line(0);
    network.last.bind('echo', (socket) => socket.pipe(socket));
    await network.first.waitFor('echo');
    const socket = network.first.dial('echo');
    socket.write('hello');
    const [data] = await within('the echo', once(socket, 'data'));
    expect(String(data)).toBe('hello');
  });
});
