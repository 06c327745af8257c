// A client of HTTP/2 that sends what libraries refuse to send: frames as bytes, headers as literals without compression.

import type { Socket } from 'node:net';

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  CONTINUATION: 9,
} as const;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A literal header field without indexing, new name (RFC 7541, section 6.2.2). */
function literal(name: string, value: string): Buffer {
  const text = (content: string): Buffer => {
    const bytes = Buffer.from(content, 'latin1');
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const rest: number[] = [];
    let left = bytes.length - 127;
    while (left >= 128) {
      rest.push((left % 128) + 128);
      left = Math.floor(left / 128);
    }
    return Buffer.concat([Buffer.from([127, ...rest, left]), bytes]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

export function headersFrame(stream: number, headers: ReadonlyArray<readonly [string, string]>, isEnd = true): Buffer {
  return frame(
    FrameType.HEADERS,
    0x4 | (isEnd ? 0x1 : 0),
    stream,
    Buffer.concat(headers.map(([n, v]) => literal(n, v))),
  );
}

export class RawHttp2 {
  readonly frames: Frame[] = [];
  private pending: Buffer = Buffer.alloc(0);

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => this.onData(chunk));
    socket.write(PREFACE);
    socket.write(frame(FrameType.SETTINGS, 0, 0));
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  private onData(chunk: Buffer): void {
    this.pending = Buffer.concat([this.pending, chunk]);
    while (this.pending.length >= 9) {
      const length = this.pending.readUIntBE(0, 3);
      if (this.pending.length < 9 + length) return;
      const [type, flags] = [this.pending[3], this.pending[4]];
      const stream = this.pending.readUInt32BE(5) & 0x7fff_ffff;
      const next = { type, flags, stream, payload: Buffer.from(this.pending.subarray(9, 9 + length)) };
      this.pending = this.pending.subarray(9 + length);
      this.frames.push(next);
      this.socket.emit('frame', next);
    }
  }

  /** Resolved with the first frame that fits, past ones included; undefined when the connection closes first. */
  frameThat(fits: (frame: Frame) => boolean): Promise<Frame | undefined> {
    const found = this.frames.find(fits);
    if (found !== undefined || this.socket.closed) return Promise.resolve(found);
    return new Promise((resolve) => {
      const onFrame = (next: Frame): void => {
        if (fits(next)) done(next);
      };
      const done = (result: Frame | undefined): void => {
        this.socket.off('frame', onFrame);
        resolve(result);
      };
      this.socket.on('frame', onFrame);
      this.socket.once('close', () => done(undefined));
    });
  }
}
