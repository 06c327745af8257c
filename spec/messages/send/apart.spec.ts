// Answers that are fetched from a receiver that does not have them any more.

import { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { type ApartHost, FETCH_MS, Fetch } from '../../../lib/messages/send/apart.js';
import type { Lane } from '../../../lib/messages/send/lane.js';
import type { Outgoing } from '../../../lib/messages/send/outgoing.js';
import { Kind } from '../../../lib/messages/wire/frames.js';
import type { Socket } from '../../../lib/socket/socket.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('an answer that the receiver does not have any more', () => {
  it('is lost after as long as a receiver keeps one, also for a call without a time limit', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    let dials = 0;
    const sockets: Duplex[] = [];
    const host: ApartHost = {
      timers,
      maxAnswerBytes: 1_000,
      dialContent: () => {
        dials++;
        const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
        sockets.push(socket);
        return socket as Socket;
      },
    };
    let holds = 0;
    const lane = {
      name: { run: 'x'.repeat(16), epoch: 1 },
      hold: () => holds++,
      release: () => holds--,
    } as unknown as Lane;
    const out = {
      number: 1,
      isSettled: false,
      remainingMs: () => 0xffff_ffff,
      target: 'orders',
    } as unknown as Outgoing;
    const lost: Error[] = [];
    const unexpected = (): void => {
      throw new Error('there is no answer');
    };
    new Fetch(host, lane, out, Kind.BYTES, {
      onAnswer: unexpected,
      onStream: unexpected,
      onTooLong: unexpected,
      onLost: (error) => void lost.push(error),
    });
    for (let passed = 0; passed <= FETCH_MS + 2_000; passed += 500) {
      // As a receiver does with a circuit for what it does not have.
      for (const socket of sockets.splice(0)) {
        socket.emit('close');
        socket.destroy();
      }
      clock.advance(500);
    }
    expect(dials).toBeGreaterThan(10);
    expect(lost).toHaveLength(1);
    expect(holds).toBe(0);
  });
});
