// When memory of messages is used again, and when it must not be.

import { describe, expect, it } from '@jest/globals';
import { MessageWriter } from '../../../../lib/messages/topics/codec/message-writer.js';
import { PIECE_BYTES, PiecePool } from '../../../../lib/messages/topics/codec/piece-pool.js';
import { Outlet } from '../../../../lib/messages/topics/outlet.js';

type OnWritten = (error?: Error | null) => void;

/** A circuit that says when bytes have left. */
class Circuit {
  writableNeedDrain = false;
  readonly unwritten: OnWritten[] = [];

  write(_bytes: Buffer, onWritten?: OnWritten): boolean {
    if (onWritten !== undefined) this.unwritten.push(onWritten);
    return true;
  }
}

/** An outlet with a frame too long to be copied, in a piece that the writer has left. */
function sentPiece() {
  const pool = new PiecePool();
  const writer = new MessageWriter(1e6, pool);
  const outlet = new Outlet(1e7, 'drop-newest', () => {}, 0, pool);
  const add = (bytes: number): void => {
    writer.encode(Buffer.from('t'), new Uint8Array(bytes), undefined);
    outlet.append(writer.buffer, writer.start, writer.end, 1);
    outlet.seal();
  };
  add(40_000);
  const { buffer: piece } = writer;
  add(40_000);
  expect(writer.buffer).not.toBe(piece);
  const circuit = new Circuit();
  outlet.send(circuit as never);
  return { pool, outlet, circuit, piece };
}

describe('a piece of memory', () => {
  it('is used again when its last user has released it', () => {
    const pool = new PiecePool();
    const piece = pool.take(10);
    pool.hold(piece);
    pool.release(piece);
    expect(pool.size).toBe(0);
    pool.release(piece);
    expect(pool.take(10)).toBe(piece);
    pool.withdraw(piece);
    pool.release(piece);
    expect(pool.take(10)).not.toBe(piece);
  });

  it('is not kept when it is of another size, or of others', () => {
    const pool = new PiecePool();
    pool.release(pool.take(PIECE_BYTES + 1));
    pool.release(Buffer.alloc(PIECE_BYTES));
    expect(pool.size).toBe(0);
  });

  it('is used again when its messages are written and confirmed, whichever comes first', () => {
    for (const isWrittenFirst of [true, false]) {
      const { pool, outlet, circuit, piece } = sentPiece();
      if (isWrittenFirst) circuit.unwritten[0]();
      else outlet.confirm(1);
      expect(pool.size).toBe(0);
      if (isWrittenFirst) outlet.confirm(1);
      else circuit.unwritten[0]();
      expect(pool.take(10)).toBe(piece);
    }
  });

  it('is not used again while a lost circuit may refer to it', () => {
    const { pool, outlet, circuit } = sentPiece();
    outlet.resume(0);
    const next = new Circuit();
    outlet.send(next as never);
    next.unwritten[0]();
    circuit.unwritten[0](new Error('lost'));
    outlet.confirm(1);
    expect(pool.size).toBe(0);
  });

  it('is not used again when its messages are handed back', () => {
    const { pool, outlet, circuit } = sentPiece();
    const [{ buffer }] = outlet.takeLeftovers();
    for (const onWritten of circuit.unwritten) onWritten();
    expect(buffer.length).toBeGreaterThan(40_000);
    expect(pool.size).toBe(0);
  });
});
