import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FrameKind, FrameReader, type OutputKind } from '../../../../lib/cli/agent/jobs/frames.js';
import { OutputLog, type OutputReader, outputBytesOf, readOutput } from '../../../../lib/cli/agent/jobs/output-log.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'jobs-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

type Piece = readonly [kind: OutputKind, text: string];

/** Everything that a reader has now, one kind after the other as they come. */
async function allOf(reader: OutputReader): Promise<Piece[]> {
  const found: Array<[OutputKind, string]> = [];
  const frames = new FrameReader(
    (kind, data) => {
      const last = found[found.length - 1];
      if (last?.[0] === kind) last[1] += data.toString('latin1');
      else found.push([kind, data.toString('latin1')]);
    },
    () => {},
  );
  for (let block = await reader.next(); block.length > 0; block = await reader.next()) frames.push(block);
  await reader.close();
  return found;
}

function joined(pieces: readonly Piece[]): string {
  return pieces.map(([, text]) => text).join('');
}

async function write(path: string, pieces: readonly Piece[]): Promise<OutputLog> {
  const log = await OutputLog.create(path);
  for (const [kind, text] of pieces) log.append(kind, Buffer.from(text, 'latin1'));
  await log.close();
  return log;
}

const { STDOUT, STDERR } = FrameKind;
const piece = fc.tuple(
  fc.constantFrom(STDOUT, STDERR),
  fc.string({ minLength: 1, maxLength: 40 }).map((text) => text.replace(/[^ -~]/g, '.')),
);

describe('the output of a job on disk', () => {
  it('keeps both outputs apart, in the order in which they came, over blocks and long frames', async () => {
    const long = 'x'.repeat(700_000);
    const log = await write(join(folder, 'o'), [
      [STDOUT, 'a'],
      [STDOUT, 'b'],
      [STDERR, long],
      [STDOUT, 'c'],
    ]);
    expect(await allOf(log.read(0))).toEqual([
      [STDOUT, 'ab'],
      [STDERR, long],
      [STDOUT, 'c'],
    ]);
    expect(log.written).toBe(700_003);
  });

  it('is read from any position, with or without the one that has written it', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), fc.nat(330), async (pieces, from) => {
        const path = join(folder, `o${run++}`);
        const log = await write(path, pieces);
        const rest = joined(pieces).slice(from);
        expect(joined(await allOf(log.read(from)))).toBe(rest);
        expect(joined(await allOf(readOutput(path, from)))).toBe(rest);
      }),
      { numRuns: 60 },
    );
  });

  it('is read from a position far behind, beginning at a mark', async () => {
    const log = await OutputLog.create(join(folder, 'o'));
    for (let part = 0; part < 40; part++) {
      log.append(part % 2 === 0 ? STDOUT : STDERR, Buffer.alloc(100_000, part));
      await new Promise<void>((resolve) => {
        log.onDrain = resolve;
      });
    }
    const [[kind, text]] = await allOf(log.read(3_950_000));
    expect([kind, text.length, text.charCodeAt(0)]).toEqual([STDERR, 50_000, 39]);
    await log.close();
  });

  it('grows for a reader that has come to its end', async () => {
    const log = await OutputLog.create(join(folder, 'o'));
    const reader = log.read(0);
    expect((await reader.next()).length).toBe(0);
    const grown = new Promise<void>((resolve) => log.onGrowth(resolve));
    log.append(STDOUT, Buffer.from('more'));
    await grown;
    expect((await reader.next()).subarray(5).toString()).toBe('more');
    await reader.close();
    await log.close();
  });

  it('has all that is there when it was cut off at any byte, and ends at garbage', async () => {
    const pieces: Piece[] = [
      [STDOUT, 'one'],
      [STDERR, 'two'],
      [STDOUT, 'three'],
    ];
    await write(join(folder, 'o'), pieces);
    const bytes = readFileSync(join(folder, 'o'));
    let before = 0;
    for (let length = 0; length <= bytes.length; length++) {
      const path = join(folder, 'cut');
      writeFileSync(path, bytes.subarray(0, length));
      const text = joined(await allOf(readOutput(path, 0)));
      expect('onetwothree'.startsWith(text)).toBe(true);
      expect(text.length).toBeGreaterThanOrEqual(before);
      before = text.length;
      expect(await outputBytesOf(path)).toBe(text.length);
      writeFileSync(path, Buffer.concat([bytes.subarray(0, length), Buffer.alloc(4_096)]));
      const withZeros = joined(await allOf(readOutput(path, 0)));
      // Zeros may take the place of the end of a frame, and never that of more.
      expect('onetwothree'.startsWith(withZeros.replace(/\0+$/, ''))).toBe(true);
      expect(withZeros.length).toBeLessThanOrEqual(11);
    }
    expect(before).toBe(11);
    expect(await outputBytesOf(join(folder, 'missing'))).toBe(0);
  });

  it('says when too much waits to be written, and when no more does', async () => {
    const log = await OutputLog.create(join(folder, 'o'));
    const drained = new Promise<void>((resolve) => {
      log.onDrain = resolve;
    });
    expect(log.append(STDOUT, Buffer.alloc(1_000_000))).toBe(true);
    expect(log.append(STDOUT, Buffer.alloc(1_000_000))).toBe(false);
    await drained;
    expect(log.append(STDOUT, Buffer.alloc(1))).toBe(true);
    await log.close();
    expect(await outputBytesOf(join(folder, 'o'))).toBe(2_000_001);
  });
});

describe('frames on the way to a reader', () => {
  it('are the same in pieces of any size', () => {
    const bytes = Buffer.concat([
      Buffer.from([1, 0, 0, 0, 2, 0x61, 0x62]),
      Buffer.from([0, 0, 0, 0, 0]),
      Buffer.from([3, 0, 0, 0, 2, 0x7b, 0x7d]),
    ]);
    for (let size = 1; size <= bytes.length; size++) {
      let text = '';
      const reader = new FrameReader(
        (kind, data) => {
          text += `${kind}${data}`;
        },
        (status) => {
          text += status;
        },
      );
      for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
      expect(text.replace(/(?<=a)1/, '')).toBe('1ab{}');
    }
  });

  it.each([
    ['an unknown kind', [9, 0, 0, 0, 1, 0]],
    ['output without content', [1, 0, 0, 0, 0]],
    ['output that is too long', [1, 0, 1, 0, 1]],
    ['a status that is too long', [3, 0xff, 0, 0, 0]],
  ])('are refused with %s', (_what, bytes) => {
    const reader = new FrameReader(
      () => {},
      () => {},
    );
    expect(() => reader.push(Buffer.from(bytes))).toThrow('no output of a job');
  });
});
