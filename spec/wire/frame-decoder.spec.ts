import { describe, expect, it } from '@jest/globals';
import { FrameDecoder } from '../../lib/wire/frame-decoder.js';
import { cutAt, decodeChunks, Gathered } from '../support/decoding.js';
import { data, dataHeader, goAway, pattern, ping, windowUpdate } from '../support/frames.js';
import type { NaiveFrame } from '../support/naive-codec.js';
import { MALFORMED, VECTORS, type Vector } from '../support/vectors.js';

/** Vectors up to this many bytes are cut at every pair of places. */
const PAIRS_UP_TO_BYTES = 20;

function asFrame([type, flags, streamId, length, payload]: Vector['frame']): NaiveFrame {
  return { type, flags, streamId, length, payload: Buffer.from(payload) };
}

describe('FrameDecoder', () => {
  for (const { name, hex, frame } of VECTORS) {
    const bytes = Buffer.from(hex, 'hex');
    const expected = [asFrame(frame)];

    it(`reads the vector in one piece: ${name}`, () => {
      const { gathered, decoder } = decodeChunks([bytes]);
      expect(gathered.frames).toEqual(expected);
      expect(decoder.betweenFrames).toBe(true);
    });

    it(`reads the vector cut at every place and every pair of places: ${name}`, () => {
      for (let first = 0; first <= bytes.length; first++) {
        const lastSecond = bytes.length <= PAIRS_UP_TO_BYTES ? bytes.length : first;
        for (let second = first; second <= lastSecond; second++) {
          const { gathered, decoder } = decodeChunks(cutAt(bytes, [first, second]));
          const { frames, malformed } = gathered;
          expect([frames, malformed, decoder.betweenFrames]).toEqual([expected, [], true]);
        }
      }
    });

    it(`knows at every place that the vector is not complete: ${name}`, () => {
      for (let end = 1; end < bytes.length; end++) {
        const { decoder } = decodeChunks([bytes.subarray(0, end)]);
        expect(decoder.betweenFrames).toBe(false);
      }
    });
  }

  it('reads all vectors in a row, in one piece, byte by byte and cut at every place', () => {
    const bytes = Buffer.concat(VECTORS.map(({ hex }) => Buffer.from(hex, 'hex')));
    const expected = VECTORS.map(({ frame }) => asFrame(frame));
    expect(decodeChunks([bytes]).gathered.frames).toEqual(expected);
    expect(decodeChunks([...bytes].map((byte) => Buffer.from([byte]))).gathered.frames).toEqual(expected);
    for (let at = 0; at <= bytes.length; at++) {
      expect(decodeChunks(cutAt(bytes, [at])).gathered.frames).toEqual(expected);
    }
  });

  it('passes on payload as slices of the chunk it came in, without a copy', () => {
    const payload = pattern(100);
    const chunk = data(1, payload);
    const { gathered } = decodeChunks([chunk]);
    expect(gathered.chunks).toHaveLength(1);
    expect(gathered.chunks[0].buffer).toBe(chunk.buffer);
    expect(gathered.chunks[0].equals(payload)).toBe(true);
    const whole = pattern(50);
    expect(decodeChunks([dataHeader(1, 50), whole]).gathered.chunks[0]).toBe(whole);
  });

  it('passes on parts of a payload as they arrive, and marks the last one', () => {
    const gathered = new Gathered();
    const decoder = new FrameDecoder(gathered);
    decoder.push(dataHeader(1, 6));
    expect(gathered.chunks).toEqual([]);
    decoder.push(Buffer.from('abc'));
    expect(Buffer.concat(gathered.chunks).toString()).toBe('abc');
    expect(gathered.complete).toBe(0);
    decoder.push(Buffer.from('def'));
    expect(gathered.complete).toBe(1);
    expect(decoder.betweenFrames).toBe(true);
  });

  it('reads many frames of one chunk without recursion', () => {
    const one = windowUpdate(1, 1);
    const many = Buffer.alloc(100_000 * one.length);
    for (let offset = 0; offset < many.length; offset += one.length) one.copy(many, offset);
    let frames = 0;
    const decoder = new FrameDecoder({
      onFrame: () => {
        frames++;
      },
      onPayload() {},
      onMalformed() {},
    });
    decoder.push(many);
    expect(frames).toBe(100_000);
  });

  it('keeps the first bytes of what is no frame, or only the start of one, however they came', () => {
    const foreign = Buffer.from('GET / HTTP/1.1\r\n');
    const alert = Buffer.from('15030300020246', 'hex');
    for (let at = 0; at <= foreign.length; at++) {
      expect(decodeChunks(cutAt(foreign, [at])).decoder.stray.toString()).toBe('GET / HTTP/1');
      expect(decodeChunks(cutAt(alert, [Math.min(at, alert.length)])).decoder.stray).toEqual(alert);
    }
    expect(decodeChunks([Buffer.concat([ping(1, 1), foreign])]).decoder.stray.toString()).toBe('GET / HTTP/1');
    expect(decodeChunks([ping(1, 1)]).decoder.stray).toHaveLength(0);
  });

  it('takes empty chunks at any place', () => {
    const empty = Buffer.alloc(0);
    const { gathered } = decodeChunks([empty, dataHeader(1, 2), empty, Buffer.from('ok'), empty, ping(1), empty]);
    expect(gathered.frames).toHaveLength(2);
    expect(gathered.frames[0].payload.toString()).toBe('ok');
  });

  it('needs no memory for a length of 4 GiB', () => {
    const before = process.memoryUsage();
    const { gathered, decoder } = decodeChunks([dataHeader(1, 0xffff_ffff), pattern(1000)]);
    const after = process.memoryUsage();
    expect(gathered.frames[0].length).toBe(0xffff_ffff);
    expect(gathered.chunks.map(({ length }) => length)).toEqual([1000]);
    expect(gathered.complete).toBe(0);
    expect(decoder.betweenFrames).toBe(false);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024);
  });

  describe('with bytes that are not yamux', () => {
    for (const [name, hex] of MALFORMED) {
      it(`stops and reports it once: ${name}`, () => {
        const bad = Buffer.from(hex, 'hex');
        for (let at = 0; at <= bad.length; at++) {
          const { gathered, decoder } = decodeChunks([ping(1), ...cutAt(bad, [at]), bad, ping(2)]);
          expect(gathered.frames.map(({ length }) => length)).toEqual([1]);
          expect(gathered.malformed).toHaveLength(1);
          expect(gathered.malformed[0]).toMatch(/^not a yamux frame: version \d+/);
          expect(decoder.betweenFrames).toBe(true);
        }
      });
    }

    it('has passed on everything before them, and nothing after them in the same chunk', () => {
      const bad = Buffer.from(MALFORMED[0][1], 'hex');
      const { gathered } = decodeChunks([Buffer.concat([data(1, 'good'), bad, data(1, 'never')])]);
      expect(gathered.frames.map(({ payload }) => payload.toString())).toEqual(['good']);
    });
  });

  describe('when a handler stops it', () => {
    const input = Buffer.concat([data(1, 'abc'), windowUpdate(1, 5), goAway(0)]);

    it('in a frame, passes on neither its payload nor what follows', () => {
      for (let at = 0; at <= input.length; at++) {
        const told: string[] = [];
        const decoder: FrameDecoder = new FrameDecoder({
          onFrame: (type) => {
            told.push(`frame ${type}`);
            decoder.stop();
          },
          onPayload: () => told.push('payload'),
          onMalformed: () => told.push('malformed'),
        });
        for (const chunk of cutAt(input, [at])) decoder.push(chunk);
        expect(told).toEqual(['frame 0']);
        expect(decoder.betweenFrames).toBe(true);
      }
    });

    it('in a payload, passes on nothing after it', () => {
      for (let at = 0; at <= input.length; at++) {
        const told: string[] = [];
        const decoder: FrameDecoder = new FrameDecoder({
          onFrame: (type) => told.push(`frame ${type}`),
          onPayload: () => {
            told.push('payload');
            decoder.stop();
          },
          onMalformed: () => told.push('malformed'),
        });
        for (const chunk of cutAt(input, [at])) decoder.push(chunk);
        expect(told).toEqual(['frame 0', 'payload']);
      }
    });
  });
});
