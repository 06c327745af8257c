import { describe, expect, it } from '@jest/globals';
import { COPY_BYTES, MAX_OUTSTANDING_BYTES, Output, type Sender, SLAB_BYTES } from '../../../lib/mux/send/output.js';
import type { Pacer } from '../../../lib/mux/send/pacer.js';
import { Flag, FrameType, HEADER_BYTES } from '../../../lib/wire/header.js';
import { pattern, payloadOf } from '../../support/frames.js';
import { ManualWriter } from '../../support/manual-writer.js';
import { turn } from '../../support/turns.js';

const { DATA, WINDOW_UPDATE, PING } = FrameType;

/** No limit on what is on its way. */
const UNPACED = {
  room: () => Number.MAX_SAFE_INTEGER,
  smallRoom: () => Number.MAX_SAFE_INTEGER,
  sentSmall: () => {},
  frameBytes: 64 * 1024,
  isProbeDue: () => false,
  probe: () => 0,
} as unknown as Pacer;

/** A session with data that waits: its flush writes frames of the given sizes while there is room. */
class Host {
  readonly writer = new ManualWriter();
  readonly output: Output;
  readonly waiting: Array<{ streamId: number; payload: Buffer; sender?: Sender }> = [];
  floods = 0;

  /** `copies`: whether the writer has copied a chunk by the time it confirms it. */
  constructor(copies = true) {
    this.output = new Output(this.writer, this, copies, UNPACED);
  }

  flush(force = false): void {
    if (!this.output.beginFlush(force)) return;
    this.writeWaiting();
    this.output.write();
  }

  private writeWaiting(): void {
    do {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.output.dataHeader(0, next.streamId, next.payload.length);
      this.output.payload(next.payload);
      if (next.sender !== undefined) this.output.notifyFlushed(next.sender, next.payload.length);
    } while (this.output.room > 0);
  }

  onControlFlood(): void {
    this.floods++;
  }

  /** Fills the Duplex up to the bound, so that whatever follows has to wait. */
  async block(): Promise<void> {
    this.waiting.push({ streamId: 99, payload: Buffer.alloc(MAX_OUTSTANDING_BYTES) });
    this.output.scheduleFlush();
    await turn();
    this.writer.take();
  }
}

class Counter implements Sender {
  bytes = 0;
  calls = 0;

  onFlushed(bytes: number): void {
    this.bytes += bytes;
    this.calls++;
  }
}

describe('Output', () => {
  it('writes all small frames of a turn at once, in order', async () => {
    const { output, writer } = new Host();
    for (let id = 1; id <= 100; id++) output.copiedData(0, id, Buffer.from(`payload ${id}`));
    output.frame(PING, Flag.ACK, 0, 7);
    expect(writer.batches).toEqual([]);
    await turn();
    expect(writer.batches).toHaveLength(1);
    expect(writer.batches[0]).toHaveLength(1);
    const frames = writer.take();
    expect(frames).toHaveLength(101);
    expect(frames[41].payload.toString()).toBe('payload 42');
    expect(frames[100]).toMatchObject({ type: PING, length: 7 });
  });

  it('copies small payloads: the caller may change them at once', async () => {
    const { output, writer } = new Host();
    const chunk = Buffer.from('before');
    output.copiedData(Flag.SYN, 1, chunk);
    chunk.fill('x');
    await turn();
    expect(writer.takeText()).toEqual(['DATA 1 SYN 6']);
    expect(writer.snapshots[0].subarray(HEADER_BYTES).toString()).toBe('before');
  });

  it('writes large payloads without copying, between slices of headers', async () => {
    const { output, writer } = new Host();
    const large = pattern(COPY_BYTES + 1);
    output.copiedData(0, 1, Buffer.from('ahead'));
    output.dataHeader(0, 3, large.length);
    output.payload(large);
    output.copiedData(0, 1, Buffer.from('behind'));
    await turn();
    expect(writer.batches).toHaveLength(1);
    expect(writer.batches[0][1]).toBe(large);
    expect(writer.takeText()).toEqual(['DATA 1 5', `DATA 3 ${large.length}`, 'DATA 1 6']);
  });

  it('splits a batch that exceeds a slab into pieces, not into writes', async () => {
    const { output, writer } = new Host();
    const chunk = pattern(1000);
    const count = Math.ceil((2 * SLAB_BYTES) / chunk.length);
    for (let frame = 0; frame < count; frame++) output.copiedData(0, 1, chunk);
    await turn();
    expect(writer.batches).toHaveLength(1);
    expect(writer.batches[0].length).toBeLessThanOrEqual(3);
    expect(payloadOf(writer.take(), 1).equals(Buffer.concat(Array(count).fill(chunk)))).toBe(true);
  });

  it('never writes into memory that is in flight', async () => {
    const { output, writer } = new Host();
    for (let round = 0; round < 50; round++) {
      // Few confirmations, so that many slabs are in flight at a time.
      for (let frame = 0; frame < 30; frame++) output.copiedData(0, 1 + frame, pattern(100 + frame, round));
      await turn();
      expect(Buffer.concat(writer.batches[round]).equals(writer.snapshots[round])).toBe(true);
      if (round % 5 === 4) {
        // Everything written since the last confirmation is unchanged.
        for (let batch = round - 4; batch <= round; batch++) {
          expect(Buffer.concat(writer.batches[batch]).equals(writer.snapshots[batch])).toBe(true);
        }
        writer.confirmAll();
      }
    }
  });

  it('reuses its memory once it is confirmed', async () => {
    const { output, writer } = new Host();
    const memory = new Set<ArrayBufferLike>();
    for (let round = 0; round < 100; round++) {
      for (let frame = 0; frame < 40; frame++) output.copiedData(0, 1, pattern(1000));
      await turn();
      for (const piece of writer.batches[round]) memory.add(piece.buffer);
      writer.confirmAll();
    }
    expect(memory.size).toBeLessThanOrEqual(6);
  });

  it('gives memory that is never reused to a Duplex that keeps chunks', async () => {
    const { output, writer } = new Host(false);
    const large = pattern(COPY_BYTES + 1);
    for (let round = 0; round < 50; round++) {
      const mine = Buffer.from(large);
      output.copiedData(0, 1, pattern(1000, round));
      output.dataHeader(0, 1, mine.length);
      output.payload(mine);
      await turn();
      writer.confirmAll();
      // The sender was notified that its memory is free, and reuses it.
      mine.fill(0);
    }
    for (let round = 0; round < 50; round++) {
      expect(Buffer.concat(writer.batches[round]).equals(writer.snapshots[round])).toBe(true);
    }
  });

  it('counts written and pending bytes', async () => {
    const { output, writer } = new Host();
    expect(output.isIdle).toBe(true);
    output.copiedData(0, 1, pattern(100));
    expect(output.isIdle).toBe(false);
    expect(output.pendingBytes).toBe(HEADER_BYTES + 100);
    await turn();
    expect(output.bytesOut).toBe(HEADER_BYTES + 100);
    expect(output.isIdle).toBe(false);
    writer.confirm();
    expect(output.isIdle).toBe(true);
    expect(output.pendingBytes).toBe(0);
  });
});

describe('Output towards a Duplex that is blocked', () => {
  it('hands over a bounded number of bytes, and more as they are confirmed', async () => {
    const host = new Host();
    const { output, writer } = host;
    const frame = 32 * 1024;
    for (let index = 0; index < 100; index++) host.waiting.push({ streamId: 1, payload: pattern(frame) });
    output.scheduleFlush();
    await turn();
    const outstanding = () => writer.snapshots.slice(-writer.pending).reduce((sum, { length }) => sum + length, 0);
    while (host.waiting.length > 0) {
      expect(writer.pending).toBeGreaterThan(0);
      expect(outstanding()).toBeGreaterThanOrEqual(MAX_OUTSTANDING_BYTES);
      expect(outstanding()).toBeLessThanOrEqual(MAX_OUTSTANDING_BYTES + frame + HEADER_BYTES);
      expect(output.room).toBeLessThanOrEqual(0);
      writer.confirm();
      await turn();
    }
    writer.confirmAll();
    expect(writer.take()).toHaveLength(100);
    expect(output.isIdle).toBe(true);
  });

  it('sends control frames before waiting data, in their order', async () => {
    const host = new Host();
    await host.block();
    const { output, writer } = host;
    host.waiting.push({ streamId: 5, payload: pattern(100) });
    output.scheduleFlush();
    output.frame(PING, Flag.ACK, 0, 1);
    output.credit(0, 5, 1000);
    output.frame(WINDOW_UPDATE, Flag.RST, 7, 0);
    await turn();
    expect(writer.take()).toEqual([]);
    writer.confirm();
    expect(writer.takeText()).toEqual(['PING ACK 1', 'WINDOW 5 1000', 'WINDOW 7 RST 0', 'DATA 5 100']);
  });

  it('keeps thousands of control frames in little memory, and sends them all', async () => {
    const host = new Host();
    await host.block();
    const { output, writer } = host;
    const pending = output.pendingBytes;
    for (let opaque = 0; opaque < 5_000; opaque++) output.frame(PING, Flag.ACK, 0, opaque);
    expect(output.pendingBytes - pending).toBe(5_000 * HEADER_BYTES);
    writer.confirmAll();
    await turn();
    expect(writer.take().map(({ length }) => length)).toEqual(Array.from({ length: 5_000 }, (_, opaque) => opaque));
    expect(host.floods).toBe(0);
  });

  it('reports a flood of control frames instead of keeping more', async () => {
    const host = new Host();
    await host.block();
    const { output } = host;
    for (let count = 0; count < 1_500_000; count++) output.frame(PING, Flag.ACK, 0, count);
    expect(host.floods).toBeGreaterThan(0);
    expect(output.pendingBytes).toBeLessThan(20 * 1024 * 1024);
  });

  it('hands everything over when the flush is forced, and takes nothing more once it is sealed', async () => {
    const host = new Host();
    await host.block();
    const { output, writer } = host;
    output.frame(FrameType.GO_AWAY, 0, 0, 1);
    host.flush(true);
    output.seal();
    expect(writer.takeText()).toEqual(['GOAWAY 1']);
    output.frame(PING, Flag.ACK, 0, 1);
    output.credit(0, 1, 1);
    await turn();
    writer.confirmAll();
    await turn();
    expect(writer.take()).toEqual([]);
  });
});

describe('Output and its senders', () => {
  it('notifies each sender of its bytes, once, when the batch is confirmed', async () => {
    const host = new Host();
    const { output, writer } = host;
    const senders = [new Counter(), new Counter(), new Counter()];
    senders.forEach((sender, index) => {
      host.waiting.push({ streamId: 1 + index, payload: pattern(10_000 * (1 + index)), sender });
    });
    output.scheduleFlush();
    await turn();
    expect(senders.map(({ calls }) => calls)).toEqual([0, 0, 0]);
    writer.confirm();
    expect(senders.map(({ bytes }) => bytes)).toEqual([10_000, 20_000, 30_000]);
    expect(senders.map(({ calls }) => calls)).toEqual([1, 1, 1]);
    writer.confirmAll();
    await turn();
    expect(senders.map(({ calls }) => calls)).toEqual([1, 1, 1]);
  });

  it('notifies the senders of each batch, in the order of batches', async () => {
    const host = new Host();
    const { output, writer } = host;
    const senders = [new Counter(), new Counter()];
    for (const sender of senders) {
      host.waiting.push({ streamId: 1, payload: pattern(10_000), sender });
      output.scheduleFlush();
      await turn();
    }
    writer.confirm();
    expect(senders.map(({ bytes }) => bytes)).toEqual([10_000, 0]);
    writer.confirm();
    expect(senders.map(({ bytes }) => bytes)).toEqual([10_000, 10_000]);
  });

  it('notifies no sender of a failed write, nor after it was stopped', async () => {
    const host = new Host();
    const { output, writer } = host;
    const sender = new Counter();
    for (let round = 0; round < 2; round++) {
      host.waiting.push({ streamId: 1, payload: pattern(10_000), sender });
      output.scheduleFlush();
      await turn();
    }
    writer.confirm(new Error('broken'));
    output.stop();
    writer.confirmAll();
    expect(sender.calls).toBe(0);
  });

  it('lets a sender write more at once', async () => {
    const host = new Host();
    const { output, writer } = host;
    let rounds = 0;
    const sender: Sender = {
      onFlushed: () => {
        if (++rounds < 5) host.waiting.push({ streamId: 1, payload: pattern(10_000), sender });
      },
    };
    host.waiting.push({ streamId: 1, payload: pattern(10_000), sender });
    output.scheduleFlush();
    for (let round = 0; round < 5; round++) {
      await turn();
      writer.confirm();
    }
    expect(rounds).toBe(5);
    expect(writer.take()).toHaveLength(5);
  });

  it('writes nothing to a Duplex that has ended', async () => {
    const { output, writer } = new Host();
    writer.writableEnded = true;
    output.copiedData(0, 1, pattern(10));
    await turn();
    expect(writer.batches).toEqual([]);
  });
});

describe('Output and flags that join a frame', () => {
  it('adds them to the last frame while it has not left', async () => {
    const { output, writer } = new Host();
    output.frame(WINDOW_UPDATE, 0, 3, 500);
    expect(output.tryAddFlags(3, Flag.FIN, false)).toBe(true);
    await turn();
    expect(writer.takeText()).toEqual(['WINDOW 3 FIN 500']);
    expect(output.tryAddFlags(3, Flag.FIN, false)).toBe(false);
  });

  it('does not add them to a frame of another stream, nor to an earlier frame', () => {
    const { output } = new Host();
    output.frame(WINDOW_UPDATE, 0, 3, 500);
    expect(output.tryAddFlags(5, Flag.FIN, true)).toBe(false);
    output.frame(WINDOW_UPDATE, 0, 5, 500);
    expect(output.tryAddFlags(3, Flag.FIN, true)).toBe(false);
  });

  it('adds them to data only if the peer takes the end as coming after it', async () => {
    const { output, writer } = new Host();
    output.copiedData(0, 3, Buffer.from('abc'));
    expect(output.tryAddFlags(3, Flag.FIN, false)).toBe(false);
    expect(output.tryAddFlags(3, Flag.FIN, true)).toBe(true);
    await turn();
    expect(writer.take()).toEqual([
      { type: DATA, flags: Flag.FIN, streamId: 3, length: 3, payload: Buffer.from('abc') },
    ]);
  });

  it('adds them to the right frame only, wherever slabs and batches end', async () => {
    const host = new Host();
    const { output, writer } = host;
    const ended = new Set<number>();
    for (let id = 1; id <= 400; id++) {
      // Sizes that put the ends of slabs inside payloads and right after headers.
      const payload = pattern((id * 997) % (2 * COPY_BYTES), id);
      output.dataHeader(0, id, payload.length);
      output.payload(payload);
      if (output.tryAddFlags(id, Flag.FIN, true)) ended.add(id);
      else output.frame(WINDOW_UPDATE, Flag.FIN, id, 0);
      if (id % 37 === 0) await turn();
      if (id % 90 === 0) writer.confirmAll();
      if (output.room <= 0) {
        writer.confirmAll();
        await turn();
        writer.confirmAll();
      }
    }
    await turn();
    writer.confirmAll();
    await turn();
    const frames = writer.take();
    for (let id = 1; id <= 400; id++) {
      const own = frames.filter(({ streamId }) => streamId === id);
      expect(payloadOf(own, id).equals(pattern((id * 997) % (2 * COPY_BYTES), id))).toBe(true);
      expect(own.filter(({ flags }) => flags === Flag.FIN)).toHaveLength(1);
      expect(own[own.length - 1].flags).toBe(Flag.FIN);
    }
    expect(ended.size).toBeGreaterThan(300);
  });
});
