// Bytes of the control plane of one node, as they would be on the wire below TLS.

export class Traffic {
  bytesIn = 0;
  bytesOut = 0;
  messagesIn = 0;
  messagesOut = 0;
  /** OPEN and its replies, which are counted apart. */
  streamBytesOut = 0;

  in(bytes: number): void {
    this.bytesIn += bytes;
    this.messagesIn++;
  }

  out(bytes: number): void {
    this.bytesOut += bytes;
    this.messagesOut++;
  }
}
