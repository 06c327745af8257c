// What the two protocols towards services have in common.

import type { Selector } from '../../../mesh/directory/selector.js';
import type { HeaderList } from '../headers.js';
import type { AnswerSink } from './response-parser.js';

/** Receives what becomes of a request. */
export interface RequestSink extends AnswerSink {
  /** The service has the circuit: no other instance will get the request. */
  onConnected(): void;
  /** More of the body may be written. */
  onDrain(): void;
  /** The request has failed; nothing follows. */
  onFailure(error: Error): void;
}

/** A request that was sent to a service. */
export interface OutboundRequest {
  /** The node that got it; empty while that is not known. */
  readonly nodeId: string;
  /** Whether bytes of the answer have come. */
  readonly hasAnswer: boolean;
  /** Whether the service has the circuit. */
  readonly isConnected: boolean;
  /** Sends a part of the body. Returns whether more may be written at once. */
  write(chunk: Buffer): boolean;
  /** Ends the body. */
  end(trailers: HeaderList): void;
  pause(): void;
  resume(): void;
  /** Ends the request without its answer. */
  abort(): void;
}

/** Which circuits to a service will do, and how to dial one. */
export interface ServiceDial {
  readonly address: string;
  readonly timeoutMs: number;
  readonly selector: Selector;
  readonly secure: boolean | undefined;
  /** The only instance whose circuits will do; undefined for any. Its port is 0 when it answers at every port. */
  readonly instance: { readonly nodeId: string; readonly port: number } | undefined;
}
