// Every kind of yamux frame as it is on the wire, written out by hand from hashicorp's spec.md.

export interface Vector {
  readonly name: string;
  readonly hex: string;
  /** What it says: type, flags, stream id, length field, payload. */
  readonly frame: readonly [type: number, flags: number, streamId: number, length: number, payload: string];
}

function vector(name: string, header: string, frame: Vector['frame']): Vector {
  return { name, hex: header.replaceAll(' ', '') + Buffer.from(frame[4]).toString('hex'), frame };
}

export const VECTORS: readonly Vector[] = [
  vector('data', '00 00 0000 00000001 00000005', [0, 0, 1, 5, 'hello']),
  vector('data without payload', '00 00 0000 00000001 00000000', [0, 0, 1, 0, '']),
  vector('data that opens', '00 00 0001 00000003 00000003', [0, 1, 3, 3, 'GET']),
  vector('data that acknowledges', '00 00 0002 00000003 00000002', [0, 2, 3, 2, 'OK']),
  vector('data that ends', '00 00 0004 00000002 00000001', [0, 4, 2, 1, '!']),
  vector('end without payload', '00 00 0004 00000002 00000000', [0, 4, 2, 0, '']),
  vector('data that resets', '00 00 0008 00000002 00000000', [0, 8, 2, 0, '']),
  vector('data with every flag', '00 00 000f 7fffffff 00000004', [0, 15, 0x7fffffff, 4, 'all.']),
  vector('data of the last stream', '00 00 0000 ffffffff 00000001', [0, 0, 0xffffffff, 1, 'z']),
  vector('window update', '00 01 0000 00000001 00040000', [1, 0, 1, 262_144, '']),
  vector('window update that opens', '00 01 0001 00000005 00000000', [1, 1, 5, 0, '']),
  vector('window update that acknowledges', '00 01 0002 00000005 00000000', [1, 2, 5, 0, '']),
  vector('window update that ends', '00 01 0004 00000005 00000000', [1, 4, 5, 0, '']),
  vector('window update that resets', '00 01 0008 00000005 00000000', [1, 8, 5, 0, '']),
  vector('the largest window update', '00 01 0000 80000000 ffffffff', [1, 0, 0x80000000, 0xffffffff, '']),
  vector('ping', '00 02 0001 00000000 deadbeef', [2, 1, 0, 0xdeadbeef, '']),
  vector('answer to a ping', '00 02 0002 00000000 deadbeef', [2, 2, 0, 0xdeadbeef, '']),
  vector('go away, in order', '00 03 0000 00000000 00000000', [3, 0, 0, 0, '']),
  vector('go away, protocol error', '00 03 0000 00000000 00000001', [3, 0, 0, 1, '']),
  vector('go away, internal error', '00 03 0000 00000000 00000002', [3, 0, 0, 2, '']),
];

/** Headers that are no yamux frame, and why. */
export const MALFORMED: ReadonlyArray<readonly [name: string, hex: string]> = [
  ['version 1', '010000000000000100000000'],
  ['version 255', 'ff0000000000000100000000'],
  ['type 4', '000400000000000000000000'],
  ['type 255', '00ff00000000000100000000'],
  ['flag 0x10', '000000100000000100000000'],
  ['flag 0x8000', '000080000000000100000000'],
  ['flag 0x100 on a window update', '000101000000000100000000'],
  ['an unknown flag on a ping', '000200110000000000000000'],
  ['data for stream 0', '000000000000000000000005'],
  ['a window update for stream 0', '000100000000000000000005'],
  ['a ping for stream 1', '000200010000000100000000'],
  ['a go away for stream 1', '000300000000000100000000'],
  ['text of another protocol', Buffer.from('GET / HTTP/1').toString('hex')],
];
