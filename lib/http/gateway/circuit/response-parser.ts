// Reads answers of HTTP/1.1 from a circuit (RFC 9112). Pure: bytes in, calls out. It is strict where two programs might read the same
// bytes differently: such an answer is an error, and the circuit is not used again.

import { type CodedError, starlaneError } from '../../../errors.js';
import { FieldKind, type HeaderList, isValue, kindOf } from '../headers.js';

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList;
  /** The length of the body, if its head says one. */
  readonly length: number | undefined;
  /** Whether the body comes in chunks, so that trailers may follow. */
  readonly isChunked: boolean;
  /** Whether nothing follows the head. */
  readonly isEmpty: boolean;
  /** Whether the circuit can carry another request after this one. */
  readonly keepsAlive: boolean;
  /** Seconds that the server keeps an idle connection, if it says so. */
  readonly keepAliveS: number | undefined;
}

/** Receives an answer. What it calls may pause the circuit, but not change the parser. */
export interface AnswerSink {
  /** A status 1xx other than 101. */
  onInformational(status: number, headers: HeaderList): void;
  onHead(head: AnswerHead): void;
  onData(chunk: Buffer): void;
  onEnd(trailers: HeaderList): void;
}

const State = {
  IDLE: 0,
  HEAD: 1,
  LENGTH: 2,
  CHUNK_SIZE: 3,
  CHUNK: 4,
  CHUNK_END: 5,
  TRAILERS: 6,
  UNTIL_END: 7,
  RAW: 8,
} as const;

type State = (typeof State)[keyof typeof State];

/** Bytes of a head, or of all trailers. */
const MAX_HEAD_BYTES = 64 * 1024;
const MAX_FIELDS = 500;
/** Bytes of the line with the size of a chunk; extensions are read and dropped. */
const MAX_CHUNK_LINE_BYTES = 1_024;
/** Of one answer. */
export const MAX_INFORMATIONAL = 32;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/;
const CHUNK_SIZE = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/;
const LENGTH = /^\d{1,15}$/;

const NOTHING = Buffer.alloc(0);

export class ResponseParser {
  private state: State = State.IDLE;
  private carry: Buffer = NOTHING;
  private left = 0;
  private isHead = false;
  private upgrades = false;
  private informational = 0;
  /** The trailers of an answer that was read to its end just now. */
  private ended: HeaderList | undefined;
  private isClean = true;

  constructor(private readonly sink: AnswerSink) {}

  /** Whether an answer is awaited or not read to its end. */
  get isBusy(): boolean {
    return this.state !== State.IDLE;
  }

  /** Whether nothing has come after the last answer. What comes unasked would be taken for the answer to the next request. */
  get isInStep(): boolean {
    return this.isClean;
  }

  /** Whether a byte of the answer has come. */
  get hasBegun(): boolean {
    return this.state > State.HEAD || this.carry.length > 0 || this.informational > 0;
  }

  /** Expects the answer to a request. */
  expect(method: string, upgrades: boolean): void {
    this.state = State.HEAD;
    this.isHead = method === 'HEAD';
    this.upgrades = upgrades;
    this.informational = 0;
  }

  /** Takes over what came after a head of status 101. */
  takeRest(): Buffer {
    const rest = this.carry;
    this.carry = NOTHING;
    return rest;
  }

  /** @throws ERR_STARLANE_MESSAGE for what is no answer */
  push(bytes: Buffer): void {
    let input = bytes;
    if (this.carry.length > 0) {
      input = Buffer.concat([this.carry, bytes]);
      this.carry = NOTHING;
    }
    let at = 0;
    while (at < input.length) {
      const next = this.step(input, at);
      if (next < 0) {
        this.carry = at === 0 ? input : input.subarray(at);
        return;
      }
      at = next;
      if (this.ended !== undefined) {
        const trailers = this.ended;
        this.ended = undefined;
        this.isClean = at === input.length;
        // It may send the next request at once, so nothing of this input may be read after it.
        this.sink.onEnd(trailers);
        return;
      }
    }
  }

  /** The circuit has ended. Returns whether the answer is whole. */
  finish(): boolean {
    if (this.state === State.UNTIL_END) {
      this.state = State.IDLE;
      this.sink.onEnd([]);
      return true;
    }
    return this.state === State.IDLE;
  }

  /** Returns where to go on, or -1 where more bytes are needed. */
  private step(input: Buffer, at: number): number {
    switch (this.state) {
      case State.HEAD:
        return this.readHead(input, at);
      case State.LENGTH:
      case State.CHUNK:
        return this.readBody(input, at);
      case State.CHUNK_SIZE:
        return this.readChunkSize(input, at);
      case State.CHUNK_END:
        if (input.length - at < 2) return -1;
        if (input[at] !== 0x0d || input[at + 1] !== 0x0a) throw bad('no line end after a chunk');
        this.state = State.CHUNK_SIZE;
        return at + 2;
      case State.TRAILERS:
        return this.readTrailers(input, at);
      case State.UNTIL_END:
        this.sink.onData(at === 0 ? input : input.subarray(at));
        return input.length;
      case State.RAW:
        return -1;
      default:
        throw bad('bytes without a request');
    }
  }

  private readHead(input: Buffer, at: number): number {
    const end = input.indexOf('\r\n\r\n', at, 'latin1');
    if ((end < 0 ? input.length : end) - at > MAX_HEAD_BYTES) throw bad('the head is too large');
    if (end < 0) return -1;
    const lines = input.toString('latin1', at, end).split('\r\n');
    const match = STATUS_LINE.exec(lines[0]);
    if (match === null || !isValue(match[3] ?? '')) throw bad('the status line');
    const status = Number(match[2]);
    const headers = fieldsOf(lines, 1);
    if (status < 200 && status !== 101) {
      if (++this.informational > MAX_INFORMATIONAL) throw bad('too many informational answers');
      this.sink.onInformational(status, headers);
      return end + 4;
    }
    if (status === 101 && !this.upgrades) throw bad('status 101 without a request for it');
    const head = this.headOf(status, match[3] ?? '', headers, match[1] === '1');
    if (status === 101) this.state = State.RAW;
    else if (head.isEmpty) this.state = State.IDLE;
    else if (head.isChunked) this.state = State.CHUNK_SIZE;
    else if (head.length === undefined) this.state = State.UNTIL_END;
    else {
      this.state = State.LENGTH;
      this.left = head.length;
    }
    this.sink.onHead(head);
    if (head.isEmpty) this.ended = [];
    return end + 4;
  }

  /** Finds where the body ends (RFC 9112, section 6.3). What is ambiguous is refused. */
  private headOf(status: number, reason: string, headers: HeaderList, isHttp11: boolean): AnswerHead {
    let length: number | undefined;
    let isChunked = false;
    let keepsAlive = isHttp11;
    let keepAliveS: number | undefined;
    for (let index = 0; index < headers.length; index += 2) {
      const value = headers[index + 1];
      switch (kindOf(headers[index])) {
        case FieldKind.CONTENT_LENGTH: {
          if (!LENGTH.test(value) || (length !== undefined && length !== Number(value))) throw bad('Content-Length');
          length = Number(value);
          break;
        }
        case FieldKind.TRANSFER_ENCODING:
          if (isChunked || !isHttp11 || value.toLowerCase() !== 'chunked') throw bad('Transfer-Encoding');
          isChunked = true;
          break;
        case FieldKind.CONNECTION:
          if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) keepsAlive = false;
          else if (!isHttp11 && /(?:^|,)[ \t]*keep-alive[ \t]*(?:,|$)/i.test(value)) keepsAlive = true;
          break;
        case FieldKind.KEEP_ALIVE: {
          const seconds = /(?:^|,)[ \t]*timeout=(\d{1,6})/i.exec(value)?.[1];
          if (seconds !== undefined) keepAliveS = Number(seconds);
          break;
        }
      }
    }
    if (isChunked && length !== undefined) throw bad('Content-Length and Transfer-Encoding');
    const isEmpty = status !== 101 && (this.isHead || status === 204 || status === 304 || length === 0);
    if (!isEmpty && status !== 101 && !isChunked && length === undefined) keepsAlive = false;
    return { status, reason, headers, length, isChunked, isEmpty, keepsAlive, keepAliveS };
  }

  private readBody(input: Buffer, at: number): number {
    const end = Math.min(input.length, at + this.left);
    this.left -= end - at;
    const chunk = at === 0 && end === input.length ? input : input.subarray(at, end);
    const isDone = this.left === 0;
    const isLast = isDone && this.state === State.LENGTH;
    if (isDone) this.state = isLast ? State.IDLE : State.CHUNK_END;
    this.sink.onData(chunk);
    if (isLast) this.ended = [];
    return end;
  }

  private readChunkSize(input: Buffer, at: number): number {
    const end = input.indexOf('\r\n', at, 'latin1');
    if ((end < 0 ? input.length : end) - at > MAX_CHUNK_LINE_BYTES) throw bad('the size of a chunk is too long');
    if (end < 0) return -1;
    const line = input.toString('latin1', at, end);
    const match = CHUNK_SIZE.exec(line);
    if (match === null || !isValue(line)) throw bad('the size of a chunk');
    this.left = Number.parseInt(match[1], 16);
    this.state = this.left === 0 ? State.TRAILERS : State.CHUNK;
    return end + 2;
  }

  private readTrailers(input: Buffer, at: number): number {
    if (input.length - at >= 2 && input[at] === 0x0d && input[at + 1] === 0x0a) {
      this.state = State.IDLE;
      this.ended = [];
      return at + 2;
    }
    const end = input.indexOf('\r\n\r\n', at, 'latin1');
    if ((end < 0 ? input.length : end) - at > MAX_HEAD_BYTES) throw bad('the trailers are too large');
    if (end < 0) return -1;
    const trailers = fieldsOf(input.toString('latin1', at, end).split('\r\n'), 0);
    this.state = State.IDLE;
    this.ended = trailers;
    return end + 4;
  }
}

function fieldsOf(lines: readonly string[], from: number): HeaderList {
  if (lines.length - from > MAX_FIELDS) throw bad('too many header fields');
  const headers: HeaderList = [];
  for (let index = from; index < lines.length; index++) {
    const line = lines[index];
    const colon = line.indexOf(':');
    // A line that begins with a space would continue the one before (obs-fold): its "name" is no token.
    const name = line.slice(0, Math.max(colon, 0));
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    if (colon <= 0 || kindOf(name) === FieldKind.INVALID || !isValue(value)) throw bad('a header field');
    headers.push(name, value);
  }
  return headers;
}

/** Returns the error for an answer that cannot be read. */
export function bad(what: string): CodedError {
  return starlaneError('ERR_STARLANE_MESSAGE', `answer of HTTP/1.1: ${what}`);
}
