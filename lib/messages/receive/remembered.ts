// The outcomes of messages with an idempotencyKey, by the sender and its key: bounded for each sender and for all, so that a sender that
// uses many keys forgets its own only.

import { OutcomeCode } from '../wire/frames.js';
import { type Answer, type Incoming, refusal } from './incoming.js';

/** Senders whose keys are remembered, keys of one sender, and bytes of its answers. */
const MAX_SENDERS = 1_024;
const MAX_KEYS = 1_024;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What became of a key. */
interface Entry {
  /** Undefined while its handler runs. */
  answer: Answer | undefined;
  /** Those that wait for the same outcome. */
  readonly joined: Incoming[];
}

/** The keys of one sender, the oldest first. */
interface SenderKeys {
  readonly entries: Map<string, Entry>;
  running: number;
  bytes: number;
}

export class Remembered {
  private readonly senders = new Map<string, SenderKeys>();

  /**
   * Called when the turn of a message with a key has come. Returns the outcome of the one before it; 'joined' when that one still runs:
   * `end` returns the message then; undefined when this is the first one, whose end has to be reported.
   */
  begin(incoming: Incoming): Answer | 'joined' | undefined {
    const keys = this.keysOf(incoming.sender.key);
    const name = nameOf(incoming);
    const known = keys.entries.get(name);
    if (known === undefined) {
      if (keys.entries.size >= MAX_KEYS) dropOldest(keys);
      keys.entries.set(name, { answer: undefined, joined: [] });
      keys.running++;
      return undefined;
    }
    if (known.answer !== undefined) return known.answer;
    known.joined.push(incoming);
    return 'joined';
  }

  /** Called with the outcome of a message with a key that was the first one. Returns those that have joined it. */
  end(incoming: Incoming, answer: Answer): readonly Incoming[] {
    const keys = this.keysOf(incoming.sender.key);
    const name = nameOf(incoming);
    const entry = keys.entries.get(name);
    if (entry === undefined || entry.answer !== undefined) return [];
    keys.running--;
    if (answer.code === OutcomeCode.HANDLED || answer.code === OutcomeCode.FAILED) remember(keys, entry, answer);
    // What did not run may run the next time.
    else keys.entries.delete(name);
    return entry.joined.splice(0);
  }

  private keysOf(sender: string): SenderKeys {
    let keys = this.senders.get(sender);
    if (keys === undefined) {
      keys = { entries: new Map(), running: 0, bytes: 0 };
      if (this.senders.size >= MAX_SENDERS) this.dropSender();
    } else this.senders.delete(sender);
    // The one that was used last is the last one.
    this.senders.set(sender, keys);
    return keys;
  }

  private dropSender(): void {
    for (const [sender, { running }] of this.senders) {
      if (running > 0) continue;
      this.senders.delete(sender);
      return;
    }
  }
}

function remember(keys: SenderKeys, entry: Entry, answer: Answer): void {
  const bytes = Math.max(0, answer.bytes);
  // A stream is read once, and a long answer is not kept: those that come later learn that it was handled.
  const isKept = answer.source === undefined && bytes <= MAX_ANSWER_BYTES;
  entry.answer = isKept ? answer : refusal(OutcomeCode.NO_ANSWER);
  if (!isKept) return;
  keys.bytes += bytes;
  while (keys.bytes > MAX_ANSWER_BYTES && dropOldest(keys)) {}
}

/** Forgets the oldest key whose handler does not run. Returns false when there is none. */
function dropOldest(keys: SenderKeys): boolean {
  for (const [name, { answer }] of keys.entries) {
    if (answer === undefined) continue;
    keys.entries.delete(name);
    keys.bytes -= Math.max(0, answer.bytes);
    return true;
  }
  return false;
}

/** A message and a call with one key are two things. */
function nameOf({ command, key }: Incoming): string {
  return `${command ?? ''} ${key}`;
}
