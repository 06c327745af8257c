// Pieces of the library that the checker must miss: each is broken in a copy of the program, and a run with it has to be caught.

import type { Rule } from './check/violation.js';

export interface Edit {
  readonly file: string;
  /** Has to be in the file once. */
  readonly from: string;
  readonly to: string;
}

export interface Break {
  readonly name: string;
  readonly about: string;
  readonly edits: readonly Edit[];
  /** Any of these is what the checker has to find. */
  readonly rules: readonly Rule[];
}

const INBOX = 'lib/messages/receive/inbox-core.ts';
const RECEIVER = 'lib/messages/receive/session.ts';
const QUEUE = 'lib/messages/receive/queue.ts';
const SENDER = 'lib/messages/send/session.ts';
const TARGET = 'lib/messages/send/target.ts';
const POST = 'lib/messages/post.ts';

export const BREAKS: readonly Break[] = [
  {
    name: 'answers-before-handler',
    about: 'the receiver answers when the handler has begun',
    edits: [
      {
        file: INBOX,
        from: `      const result = this.scope.runInAsyncScope(handler, undefined, message);
      if (isPromise(result)) {
        result.then(
          () => this.finish(incoming, HANDLED),
          (error) => this.finish(incoming, failureOf(error)),
        );
      } else`,
        to: `      const result = this.scope.runInAsyncScope(handler, undefined, message);
      if (isPromise(result)) result.then(undefined, () => {});
      `,
      },
    ],
    rules: ['handled-without-run'],
  },
  {
    name: 'no-duplicate-window',
    about: 'what was written is written again after a break, and the receiver runs whatever comes',
    edits: [
      {
        file: SENDER,
        from: 'if (isFrom(number, next)) this.again.push(out);',
        to: 'if (!out.isSettled) this.again.push(out);',
      },
      {
        file: RECEIVER,
        from: 'if (number !== this.next) throw',
        to: 'if (number !== this.next) this.next = number;\n    if (number !== this.next) throw',
      },
    ],
    rules: ['ran-twice'],
  },
  {
    name: 'written-is-not-handled',
    about: 'what a receiver may have is called not handled when the receiver is lost',
    edits: [
      {
        file: TARGET,
        from: 'out.fail(outcomeUnknown(this.name, error));',
        to: 'void outcomeUnknown; out.fail(notHandled(this.name, error));',
      },
    ],
    rules: ['not-handled-but-ran'],
  },
  {
    name: 'late-is-not-handled',
    about: 'what a receiver may have is called not handled when its time is over',
    edits: [
      { file: POST, from: 'const isUnknown = out.state === OutgoingState.WRITTEN;', to: 'const isUnknown = false;' },
    ],
    rules: ['not-handled-but-ran'],
  },
  {
    name: 'handled-after-restart',
    about: 'what was sent to a receiver that has started again is called handled',
    edits: [
      {
        file: TARGET,
        from: 'out.fail(outcomeUnknown(this.name, error));',
        to: 'void outcomeUnknown; out.succeed({ nodeId: lane.nodeId, id: "" });',
      },
    ],
    rules: ['handled-without-run'],
  },
  {
    name: 'last-first',
    about: 'what waits is sent in the wrong order',
    edits: [{ file: SENDER, from: 'this.waiting.push(out);', to: 'this.waiting.splice(this.waitingAt, 0, out);' }],
    rules: ['out-of-order'],
  },
  {
    name: 'side-by-side',
    about: 'the handlers of messages of one sender run side by side',
    edits: [
      {
        file: QUEUE,
        from: 'const { key } = incoming.sender;',
        to: "const key = [incoming.sender.key, Math.random()].join(' ');",
      },
    ],
    rules: ['overlap'],
  },
];
