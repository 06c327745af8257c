// Asks an issuer over the mesh, however many hops away: one request, one answer, over a circuit to a port that every member reserves.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Socket } from '../../socket/socket.js';
import type { Timers } from '../../util/timers.js';
import { type EnrolmentReply, EnrolmentType } from '../../wire/enrolment.js';
import { Exchange, type ReceivedFrame } from './exchange.js';

/** The virtual port of the issuer: one of those that are reserved in nodes with credentials. */
export const ENROLMENT_PORT = 1;

export type Reply = ReceivedFrame & { readonly message: EnrolmentReply };

/** @throws the error of the circuit, ETIMEDOUT, or ERR_STARLANE_MESSAGE */
export async function askIssuer(
  dial: (address: string, timeoutMs: number) => Socket,
  timers: Timers,
  issuer: NodeId,
  frame: Uint8Array,
  timeoutMs: number,
): Promise<Reply> {
  const socket = dial(`@${issuer}:${ENROLMENT_PORT}`, timeoutMs);
  const exchange = new Exchange(socket, timers);
  try {
    socket.write(frame);
    const { message, bytes } = await exchange.read(timeoutMs);
    if (message.type !== EnrolmentType.CERTIFIED && message.type !== EnrolmentType.REFUSED) {
      throw starlaneError('ERR_STARLANE_MESSAGE', `an unexpected message of type ${message.type}`);
    }
    return { message, bytes };
  } finally {
    exchange.destroy();
  }
}
