// The tracer of the program, where it has one. The package @opentelemetry/api keeps what a program has registered in a global object, under
// a symbol with its major version. That object is all that is needed: nothing is imported, and a program without a tracer pays for one look.
//
// The types are the part of the API (1.3 and later) that is used. A tracer that throws costs its own span, nothing else.

import { debug } from '../../util/runtime/debug.js';
import type { TraceContext } from '../../wire/trace-context.js';

const log = debug('node');

const GLOBAL_API = Symbol.for('opentelemetry.js.api.1');
/** Under which the API keeps the current span in a context. */
const SPAN_KEY = Symbol.for('OpenTelemetry Context Key SPAN');

export const SpanKind = { SERVER: 1, CLIENT: 2 } as const;
const STATUS_ERROR = 2;

export type Attributes = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

interface SpanOptions {
  readonly kind: number;
  readonly attributes: Attributes;
  /** In ms since 1970. Default now. */
  readonly startTime?: number | undefined;
}

interface ApiSpan {
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): void;
  end(): void;
}

interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
  deleteValue(key: symbol): Context;
}

type Carrier = Record<string, string>;

interface GlobalApi {
  readonly trace?: {
    getTracer(name: string): { startSpan(name: string, options: SpanOptions, context: Context): ApiSpan };
  };
  readonly context?: {
    active(): Context;
    with<Result>(context: Context, run: () => Result): Result;
  };
  readonly propagation?: {
    inject(context: Context, carrier: Carrier, setter: { set(to: Carrier, key: string, value: string): void }): void;
    extract(
      context: Context,
      carrier: Carrier,
      getter: { get(from: Carrier, key: string): string | undefined; keys(from: Carrier): string[] },
    ): Context;
  };
}

/** The context of a program that has registered no context manager. */
class RootContext implements Context {
  constructor(private readonly values: ReadonlyMap<symbol, unknown> = new Map()) {}

  getValue(key: symbol): unknown {
    return this.values.get(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return new RootContext(new Map(this.values).set(key, value));
  }

  deleteValue(key: symbol): Context {
    const values = new Map(this.values);
    values.delete(key);
    return new RootContext(values);
  }
}

const SETTER = {
  set(to: Carrier, key: string, value: string): void {
    to[key.toLowerCase()] = value;
  },
};
const GETTER = {
  get: (from: Carrier, key: string): string | undefined => from[key.toLowerCase()],
  keys: (from: Carrier): string[] => Object.keys(from),
};

/** Whether the program has registered a tracer provider. */
export function hasTracer(): boolean {
  return registered()?.trace !== undefined;
}

function registered(): GlobalApi | undefined {
  return (globalThis as { [GLOBAL_API]?: GlobalApi })[GLOBAL_API];
}

/** One span, and the context in which it is the current one. */
export class Span {
  private isEnded = false;

  private constructor(
    private readonly api: GlobalApi,
    private readonly span: ApiSpan,
    private readonly context: Context,
  ) {}

  /**
   * Starts a span in the current context. Returns undefined without a tracer.
   * @param remote the context of the other end, if it has sent one: the parent of the span, unless the program propagates none
   */
  static start(name: string, options: SpanOptions, remote?: TraceContext): Span | undefined {
    const api = registered();
    const { trace } = api ?? {};
    if (api === undefined || trace === undefined) return undefined;
    return safely(() => {
      const current = api.context?.active() ?? new RootContext();
      const parent = remote === undefined ? current : extracted(api, current, remote);
      const span = trace
        .getTracer('starlane')
        .startSpan(name, { ...options, attributes: present(options.attributes) }, parent);
      return new Span(api, span, parent.setValue(SPAN_KEY, span));
    });
  }

  /** Returns what the other end gets; undefined when the program propagates no W3C trace context. */
  traceContext(): TraceContext | undefined {
    const { propagation } = this.api;
    if (propagation === undefined) return undefined;
    return safely(() => {
      const carrier: Carrier = {};
      propagation.inject(this.context, carrier, SETTER);
      const { traceparent, tracestate = '' } = carrier;
      return typeof traceparent === 'string' ? { traceparent, tracestate: String(tracestate) } : undefined;
    });
  }

  /** Calls `run` in the context in which this span is the current one. */
  enter(run: () => void): void {
    const manager = this.api.context;
    if (manager === undefined) {
      run();
      return;
    }
    let isRun = false;
    let thrown: { error: unknown } | undefined;
    safely(() =>
      manager.with(this.context, () => {
        isRun = true;
        try {
          run();
        } catch (error) {
          thrown = { error };
        }
      }),
    );
    if (!isRun) run();
    if (thrown !== undefined) throw thrown.error;
  }

  /** Ends the span, once. */
  end(attributes: Attributes, error?: Error): void {
    if (this.isEnded) return;
    this.isEnded = true;
    const { span } = this;
    safely(() => {
      span.setAttributes(present(attributes));
      if (error !== undefined) {
        span.recordException(error);
        span.setStatus({ code: STATUS_ERROR, message: error.message });
      }
      span.end();
    });
  }
}

function extracted({ propagation }: GlobalApi, current: Context, { traceparent, tracestate }: TraceContext): Context {
  if (propagation === undefined) return current;
  const carrier: Carrier = { traceparent };
  if (tracestate !== '') carrier['tracestate'] = tracestate;
  return propagation.extract(current, carrier, GETTER);
}

function present(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}

/** Calls into the tracer of the program. */
function safely<Result>(run: () => Result): Result | undefined {
  try {
    return run();
  } catch (error) {
    log('the tracer has thrown: %s', (error as Error)?.message);
    return undefined;
  }
}
