// Two sessions that speak to each other while users and the link do anything in any order.

import { describe, it } from '@jest/globals';
import fc from 'fast-check';
import { SessionModel, type Side, type StreamEnd } from '../support/session-model.js';
import { turn } from '../support/turns.js';

/** What the users know: how many streams there are. Everything else is read from the streams themselves. */
interface Known {
  streams: number;
}

type Command = fc.AsyncCommand<Known, SessionModel>;

/** Does something with one end of one stream, if that end exists and has not ended. */
class OnStream implements Command {
  constructor(
    private readonly name: string,
    private readonly side: Side,
    private readonly which: number,
    private readonly act: (end: StreamEnd) => void,
  ) {}

  check({ streams }: Known): boolean {
    return streams > 0;
  }

  async run({ streams }: Known, model: SessionModel): Promise<void> {
    const end = model.streams[this.which % streams][this.side];
    if (end.stream === undefined || end.isOver) return;
    this.act(end);
    model.check();
  }

  toString(): string {
    return `${this.name} at side ${this.side} of stream ${this.which}`;
  }
}

class Open implements Command {
  constructor(
    private readonly side: Side,
    private readonly firstBytes: number,
    private readonly isRelayed: boolean,
  ) {}

  check({ streams }: Known): boolean {
    return streams < 8;
  }

  async run(known: Known, model: SessionModel): Promise<void> {
    model.open(this.side, this.firstBytes, this.isRelayed);
    known.streams++;
    model.check();
  }

  toString(): string {
    return `open at side ${this.side} with ${this.firstBytes} bytes${this.isRelayed ? ', relayed' : ''}`;
  }
}

class Deliver implements Command {
  constructor(
    private readonly side: Side,
    private readonly bytes: number,
  ) {}

  check(): boolean {
    return true;
  }

  async run(_known: Known, model: SessionModel): Promise<void> {
    model.ends[this.side].deliver(this.bytes);
    model.check();
  }

  toString(): string {
    return `deliver ${this.bytes} bytes of side ${this.side}`;
  }
}

class Turn implements Command {
  check(): boolean {
    return true;
  }

  async run(_known: Known, model: SessionModel): Promise<void> {
    await turn();
    model.check();
  }

  toString(): string {
    return 'turn';
  }
}

const side = fc.constantFrom<Side>(0, 1);
const which = fc.nat(7);
const size = fc.oneof(fc.nat(40), fc.nat(5_000), fc.nat(150_000));

function onStream(name: string, act: (end: StreamEnd, bytes: number) => void): fc.Arbitrary<Command> {
  return fc
    .tuple(side, which, size)
    .map(([at, stream, bytes]) => new OnStream(`${name} ${bytes}`, at, stream, (end) => act(end, bytes)));
}

const write = onStream('write', (end, bytes) => {
  if (!end.hasEnded) end.write(bytes);
});
const end = onStream('end', (it) => {
  it.hasEnded = true;
  it.stream?.end();
});
const reset = onStream('reset', (it) => {
  it.hasReset = true;
  it.stream?.reset();
});
const pause = onStream('pause', (it) => {
  it.paused = true;
});
const resume = onStream('resume', (it) => {
  it.paused = false;
  it.consume(Number.POSITIVE_INFINITY);
});
const consume = onStream('consume', (it, bytes) => it.consume(bytes));
const open = fc.tuple(side, size, fc.boolean()).map(([at, bytes, isRelayed]) => new Open(at, bytes, isRelayed));
const deliver = fc.tuple(side, size).map(([at, bytes]) => new Deliver(at, bytes));
const turns = fc.constant(new Turn());

/** Repeated entries are more frequent. */
const commands = fc.commands(
  [open, write, write, write, deliver, deliver, deliver, turns, turns, turns, pause, resume, consume, end, reset],
  { maxCommands: 120, size: 'max' },
);

describe('Two sessions', () => {
  for (const starlanePeer of [false, true]) {
    const kind = starlanePeer ? 'Starlane peers' : 'foreign peers';
    it(`as ${kind} deliver every byte in order, keep count of all credit, and leave nothing behind`, async () => {
      await fc.assert(
        fc.asyncProperty(commands, async (list) => {
          const model = new SessionModel({ starlanePeer, maxUnackedOpens: 3, receiveBudgetBytes: 8 * 1024 * 1024 });
          await turn();
          await fc.asyncModelRun(() => ({ model: { streams: 0 }, real: model }), list);
          await model.drain();
          model.checkAtRest();
          await model.finish();
        }),
        { numRuns: 60 },
      );
    });
  }
});
