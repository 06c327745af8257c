// 'close' comes a turn after the end of a socket, as for a handle of the system: whoever awaits 'end' can still listen. All
// that have ended in one turn are told in one go, so that what their listeners send leaves together.

import { throwLater } from '../util/throw-later.js';

export interface Closing {
  /** Emits 'close'. */
  tellClose(hadError: boolean): void;
}

let sockets: Closing[] = [];
let errors: boolean[] = [];

export function closeLater(socket: Closing, hadError: boolean): void {
  if (sockets.length === 0) setImmediate(closeAll);
  sockets.push(socket);
  errors.push(hadError);
}

function closeAll(): void {
  const ended = sockets;
  const hadErrors = errors;
  sockets = [];
  errors = [];
  for (let index = 0; index < ended.length; index++) {
    try {
      ended[index].tellClose(hadErrors[index]);
    } catch (error) {
      throwLater(error);
    }
  }
}
