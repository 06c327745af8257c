// A secure stream between a stream of a session and a socket, both controlled by the spec: the socket sees what it would see of the
// stream itself.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_PLAIN_BYTES, RecordSealer, RecordType } from '../../../lib/circuit/secure/secure-records.js';
import { SecureStream } from '../../../lib/circuit/secure/stream.js';
import { circuitKeys } from '../../../lib/circuit/secure/transcript.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../../lib/mux/hidden.js';
import { ResetReason } from '../../../lib/mux/stream/resets.js';
import type { ByteStream } from '../../../lib/mux/stream/sink.js';
import type { MuxStream, StreamSink } from '../../../lib/mux/stream/stream.js';
import { catchErrorsOfTicks } from '../../support/caught-errors.js';
import { pattern } from '../../support/frames.js';
import { turn } from '../../support/turns.js';

function keys(): ReturnType<typeof circuitKeys> {
  return circuitKeys(Buffer.alloc(32, 6), undefined, Buffer.alloc(32));
}

/** A stream of a session: takes bytes by copying them, or later, as the spec decides. */
class ManualStream {
  sink!: StreamSink;
  /** Small chunks are copied at once. */
  copies = true;
  wire: Buffer[] = [];
  /** Bytes that are not reported. */
  queuedBytes = 0;
  isClosed = false;
  hasEnded = false;
  consumedBytes = 0;
  fate: string | undefined;

  get asMux(): MuxStream {
    return this as unknown as MuxStream;
  }

  write(chunk: Buffer): boolean {
    if (this.hasEnded) throw new Error('written after the end');
    this.wire.push(Buffer.from(chunk));
    if (this.copies && this.queuedBytes === 0 && chunk.length <= 4096) return true;
    this.queuedBytes += chunk.length;
    return false;
  }

  report(bytes: number): void {
    const count = Math.min(bytes, this.queuedBytes);
    if (count === 0) return;
    this.queuedBytes -= count;
    this.sink[kOnSent](this.asMux, count);
  }

  end(): void {
    this.hasEnded = true;
  }

  reset(reason: number): void {
    this.isClosed = true;
    this.fate ??= `reset ${reason}`;
  }

  close(flush: boolean): void {
    this.fate ??= `closed ${flush}`;
  }

  destroy(error: Error, reason: number): void {
    this.isClosed = true;
    this.fate ??= `killed ${reason}`;
    this.sink[kOnReset](this.asMux, error, reason);
  }

  consumed(bytes: number): void {
    this.consumedBytes += bytes;
  }
}

/** A socket that notes its events. */
class HandSocket {
  chunks: Buffer[] = [];
  sent = 0;
  ends = 0;
  error: Error | undefined;

  [kOnData](_stream: ByteStream, chunk: Buffer): void {
    this.chunks.push(chunk);
  }

  [kOnEnd](): void {
    this.ends++;
  }

  [kOnSent](_stream: ByteStream, bytes: number): void {
    this.sent += bytes;
  }

  [kOnReset](_stream: ByteStream, error: Error): void {
    this.error = error;
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

function pair() {
  const [near, far] = [new ManualStream(), new ManualStream()];
  const dialled = SecureStream.dialled(near.asMux, keys());
  const confirms: Array<Error | undefined> = [];
  const accepted = SecureStream.accepted(far.asMux, keys(), (failure) => confirms.push(failure));
  const [dialler, server] = [new HandSocket(), new HandSocket()];
  dialled.sink = dialler;
  accepted.sink = server;
  return { near, far, dialled, accepted, dialler, server, confirms };
}

/** What has been written arrives, in parts of at most so many bytes. */
function deliver(from: ManualStream, to: ManualStream, bytes = Number.POSITIVE_INFINITY, partBytes = bytes): number {
  const all = Buffer.concat(from.wire);
  const taken = all.subarray(0, bytes);
  from.wire = [all.subarray(taken.length)];
  for (let at = 0; at < taken.length; at += partBytes) {
    const part = Buffer.from(taken.subarray(at, at + partBytes));
    to.sink[kOnData](to.asMux, part);
    part.fill(0xee);
  }
  return taken.length;
}

type Step = { readonly kind: 'write' | 'tryWrite' | 'report' | 'deliver' | 'copies'; readonly bytes: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('write', 'tryWrite', 'report', 'deliver', 'copies'),
  bytes: fc.oneof(
    fc.integer({ min: 1, max: 100 }),
    fc.integer({ min: 1, max: 5_000 }),
    fc.integer({ min: 1, max: 5 * MAX_PLAIN_BYTES }),
  ),
});

describe('A secure stream', () => {
  const caught = catchErrorsOfTicks();

  it('delivers everything in order, reports each byte that was sent, and returns all credit', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { near, far, dialled, dialler, server } = pair();
        const written: Buffer[] = [];
        let owed = 0;
        let arrived = 0;
        for (const { kind, bytes } of steps) {
          if (kind === 'write' || kind === 'tryWrite') {
            const chunk = pattern(bytes);
            const isDone = dialled[kind](chunk);
            if (kind === 'write' || isDone) written.push(Buffer.from(chunk));
            if (kind === 'write' && !isDone) owed += bytes;
            // Memory that is not referenced any more is used again.
            if (isDone) chunk.fill(0xee);
          } else if (kind === 'report') near.report(bytes);
          else if (kind === 'deliver') arrived += deliver(near, far, bytes);
          else near.copies = !near.copies;
          expect(dialler.sent).toBeLessThanOrEqual(owed);
        }
        dialled.end();
        while (near.queuedBytes > 0) near.report(20_000);
        expect(dialler.sent).toBe(owed);
        expect(near.hasEnded).toBe(true);
        arrived += deliver(near, far, undefined, 10_007);
        far.sink[kOnEnd](far.asMux);
        expect(server.received.equals(Buffer.concat(written))).toBe(true);
        expect(server.ends).toBe(1);
        // What is no plaintext has been given back; the rest is the reader's.
        expect(far.consumedBytes + server.received.length).toBe(arrived);
      }),
      { numRuns: 300 },
    );
  });

  it('never keeps more unread than half the window of a hop, besides what the reader has', () => {
    const { near, far, dialled, server } = pair();
    dialled.write(pattern(MAX_PLAIN_BYTES));
    near.report(near.queuedBytes);
    let arrived = 0;
    let mostUnread = 0;
    while (near.wire.some(({ length }) => length > 0)) {
      arrived += deliver(near, far, 1);
      mostUnread = Math.max(mostUnread, arrived - far.consumedBytes - server.received.length);
    }
    expect(mostUnread).toBeLessThan(32 * 1024);
    expect(server.received).toHaveLength(MAX_PLAIN_BYTES);
  });

  it('keeps only a part of a large write encrypted', () => {
    const { near, dialled, dialler } = pair();
    const chunk = pattern(10 * 1024 * 1024);
    expect(dialled.write(chunk)).toBe(false);
    while (near.queuedBytes > 0) {
      expect(near.queuedBytes).toBeLessThan(200 * 1024);
      near.report(50_000);
    }
    expect(dialler.sent).toBe(chunk.length);
  });

  it('goes on after a listener throws', async () => {
    const { near, far, dialled, server } = pair();
    const chunks: string[] = [];
    server[kOnData] = (_stream, chunk) => {
      chunks.push(chunk.toString());
      throw new Error('of a listener');
    };
    for (const text of ['one', 'two']) dialled.write(Buffer.from(text));
    deliver(near, far);
    await turn();
    expect(chunks).toEqual(['one', 'two']);
    expect(caught).toHaveLength(2);
  });

  it('delivers nothing more once its user has cancelled it', () => {
    const { near, far, dialled, accepted, server } = pair();
    server[kOnData] = function (this: HandSocket, _stream, chunk) {
      this.chunks.push(chunk);
      accepted.reset();
    };
    for (const text of ['one', 'two']) dialled.write(Buffer.from(text));
    deliver(near, far);
    expect(server.received.toString()).toBe('one');
    expect(far.fate).toBe('reset 0');
  });

  it('is confirmed once, before anything else', () => {
    const { near, far, dialled, confirms, server } = pair();
    dialled.write(Buffer.from('hello'));
    deliver(near, far, 19);
    expect(confirms).toEqual([]);
    deliver(near, far);
    expect(confirms).toEqual([undefined]);
    expect(server.received.toString()).toBe('hello');
  });

  it('reports that it was not confirmed when it ends before', () => {
    const { far, confirms } = pair();
    const error = new Error('lost');
    far.sink[kOnReset](far.asMux, error, ResetReason.LINK_LOST);
    expect(confirms).toEqual([error]);
  });
});

describe('The end of a secure stream', () => {
  it('without an END record is not valid', () => {
    const { near, far, dialled, server } = pair();
    dialled.write(Buffer.from('hello'));
    deliver(near, far);
    far.sink[kOnEnd](far.asMux);
    expect(server.ends).toBe(0);
    expect(server.error).toMatchObject({ code: 'ERR_STARLANE_SECURE', message: expect.stringContaining('cut off') });
    expect(far.fate).toBe(`killed ${ResetReason.SECURE}`);
  });

  it('that was cut is reported when both halves have ended already', () => {
    const { near, far, accepted, server } = pair();
    deliver(near, far);
    accepted.end();
    far.isClosed = true;
    far.sink[kOnEnd](far.asMux);
    expect(server.error).toMatchObject({ code: 'ERR_STARLANE_SECURE' });
  });

  it.each([
    ['of a user who has written nothing more', (_stream: SecureStream) => {}, 'closed true'],
    ['of a user whose end waits', (stream: SecureStream) => stream.end(), 'closed true'],
    ['of a user whose data waits', (stream: SecureStream) => stream.write(pattern(10_000)), 'closed true'],
    [
      'of a user whose data is not even encrypted',
      (stream: SecureStream) => stream.write(pattern(1_000_000)),
      'reset 0',
    ],
  ])('%s is what it would be of the stream itself', (_what, act, fate) => {
    const { near, far, dialled, confirms } = pair();
    deliver(near, far);
    expect(confirms).toHaveLength(1);
    near.copies = false;
    act(dialled);
    dialled.close();
    expect(near.fate).toBe(fate);
  });

  it.each([
    ['data behind it', [RecordType.CONFIRM, RecordType.END, RecordType.DATA], 'a record behind the end'],
    ['two of it', [RecordType.CONFIRM, RecordType.END, RecordType.END], 'a record behind the end'],
    ['a second confirmation', [RecordType.CONFIRM, RecordType.CONFIRM], 'it was confirmed twice'],
    ['no confirmation', [RecordType.DATA], 'it was not confirmed'],
  ])('with %s is a reset', (_what, types, reason) => {
    const { far, server } = pair();
    const sealer = new RecordSealer(keys().fromDialler);
    for (const type of types) {
      far.sink[kOnData](far.asMux, sealer.seal(type, type === RecordType.DATA ? Buffer.from('x') : undefined));
    }
    expect(server.error).toMatchObject({ code: 'ERR_STARLANE_SECURE', message: expect.stringContaining(reason) });
    expect(far.fate).toBe(`killed ${ResetReason.SECURE}`);
  });

  it('with a confirmation of the server is a reset', () => {
    const { near, dialler } = pair();
    near.sink[kOnData](near.asMux, new RecordSealer(keys().fromServer).seal(RecordType.CONFIRM));
    expect(dialler.error).toMatchObject({ code: 'ERR_STARLANE_SECURE' });
  });
});
