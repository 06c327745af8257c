// Trailers of HTTP/2, which node:http2 asks for by an event: what it throws there would end the process.

import { constants, type Http2Stream } from 'node:http2';
import { type HeaderList, headerObject } from './headers.js';

/** Sends the trailers of a stream; resets it if it cannot have them. */
export function sendTrailers(stream: Http2Stream, trailers: HeaderList): void {
  try {
    stream.sendTrailers(headerObject(trailers));
  } catch {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}
