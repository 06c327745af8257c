// The journal: positions, segments, and readers that fall behind.

import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Journal } from '../../../lib/cli/agent/journal.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-journal-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function allOf(journal: Journal, from = journal.start): Promise<string> {
  const pieces: Buffer[] = [];
  for (let at = from; ; ) {
    const piece = (await journal.read(at, 1_000)) as Buffer;
    if (piece.length === 0) return Buffer.concat(pieces).toString();
    pieces.push(piece);
    at += piece.length;
  }
}

describe('a journal', () => {
  it('has what was appended, at positions that go on after it was opened again', async () => {
    const first = Journal.open(folder, 1_000_000);
    first.append(Buffer.from('one\n'));
    first.close();
    const second = Journal.open(folder, 1_000_000);
    expect([second.start, second.end]).toEqual([0, 4]);
    second.append(Buffer.from('two\n'));
    expect(await allOf(second)).toBe('one\ntwo\n');
    expect(await allOf(second, 4)).toBe('two\n');
    second.close();
  });

  it('drops its oldest part, and says so to a reader that asks for it', async () => {
    const journal = Journal.open(folder, 32 * 1024);
    const line = Buffer.from(`${'x'.repeat(99)}\n`);
    for (let index = 0; index < 1_000; index++) journal.append(line);
    expect(journal.end).toBe(100_000);
    expect(journal.start).toBeGreaterThan(100_000 - 33 * 1024);
    expect(await journal.read(0, 10)).toBeUndefined();
    expect((await allOf(journal)).length).toBe(journal.end - journal.start);
    expect(readdirSync(folder).length).toBeLessThanOrEqual(9);
    journal.close();
  });

  it('cuts an append that is longer than a segment into several', async () => {
    const journal = Journal.open(folder, 64 * 1024);
    const bytes = Buffer.alloc(50_000, 'abcdefghij');
    journal.append(bytes);
    expect(await allOf(journal)).toBe(bytes.toString().slice(journal.start));
    journal.close();
  });

  it('goes on behind a hole, as lost power leaves one', async () => {
    const first = Journal.open(folder, 32 * 1024);
    for (let index = 0; index < 3; index++) first.append(Buffer.alloc(4096, `${index}`));
    first.close();
    truncateSync(join(folder, readdirSync(folder).sort()[1]), 96);
    const journal = Journal.open(folder, 32 * 1024);
    expect(await journal.read(4096, 1_000)).toHaveLength(96);
    expect(await journal.read(4096 + 96, 1_000)).toBeUndefined();
    expect([0, 4096, 4096 + 96, 8192, 9000, 12_288].map((from) => journal.keptFrom(from))).toEqual([
      0, 4096, 8192, 8192, 9000, 12_288,
    ]);
    expect(await journal.lastLines(5_000)).toBe(8192);
    expect(await allOf(journal, 8192)).toBe('2'.repeat(4096));
    journal.close();
  });

  it('finds the begin of the last lines', async () => {
    const journal = Journal.open(folder, 1_000_000);
    journal.append(Buffer.from('first\nsecond\nthird\n'));
    expect(await journal.lastLines(8)).toBe(13);
    expect(await journal.lastLines(1_000)).toBe(0);
    journal.close();
  });

  it('goes on without what the disk does not take', async () => {
    const journal = Journal.open(folder, 1_000_000);
    rmSync(folder, { recursive: true });
    journal.append(Buffer.from('gone'));
    expect([journal.end, journal.lostBytes]).toEqual([0, 4]);
  });
});
