// What a node reports, as lines of the log.

import type { CodedError } from '../errors.js';
import type { ServiceInfo } from '../mesh/directory/service.js';
import type { Node, NodeEvents } from '../node/node.js';
import { dateNow } from '../util/runtime/real-timers.js';
import { lineOf } from './failure.js';
import type { Log, LogFields, LogLevel } from './log.js';

/** After a line, further ones about the same thing are only counted, for so long. */
const QUIET_MS = 60_000;
/** Things that are remembered; beyond them, the oldest one is forgotten. */
const MAX_REMEMBERED = 1_024;

export interface NodeLogOptions {
  /** The time in ms, for the limit of repeats. Default that of the system. */
  readonly now?: () => number;
  /** While true, a warning is of the level debug: what fails will be reported in another way. */
  readonly isQuiet?: () => boolean;
  /** How long repeats of a line are counted instead of written, in ms. Default a minute. */
  readonly quietMs?: number;
}

/**
 * Writes a line for each event of a node: faults as they are, a lost link at the level info, other links and services at the level debug. What
 * repeats within a minute is counted, and the next line says how often it came. Returns a function that ends it.
 */
export function logNode(
  log: Log,
  node: Node,
  { now = dateNow, quietMs = QUIET_MS, isQuiet = () => false }: NodeLogOptions = {},
): () => void {
  const repeats = new Repeats(now, quietMs);
  const say = (level: LogLevel, about: string, message: string, fields: LogFields): void => {
    const suppressed = repeats.take(`${level} ${about}`);
    if (suppressed !== undefined) log[level](message, suppressed === 0 ? fields : { ...fields, repeated: suppressed });
  };
  const onService = (what: string) => (service: ServiceInfo) => {
    const { nodeId, port } = service;
    const fields = { service: service.service, node: nodeId, port };
    say('debug', `${what} ${service.service} ${nodeId} ${port}`, `${service.service} of ${nodeId} is ${what}`, fields);
  };
  const listeners: { [Event in keyof NodeEvents]?: (...args: NodeEvents[Event]) => void } = {
    link({ peerId, peerName, address, direction }) {
      const fields = { peer: peerId, name: peerName, address, direction };
      say('debug', `link ${peerId}`, `link to ${peerId} at ${address}`, fields);
    },
    unlink({ peerId, peerName, address }, reason) {
      const fields = { peer: peerId, name: peerName, address, error: reason };
      if (reason === undefined) say('debug', `unlink ${peerId}`, `closed the link to ${peerId}`, fields);
      else say('info', `lost ${peerId}`, `lost the link to ${peerId}: ${lineOf(reason)}`, fields);
    },
    service: onService('offered'),
    unservice: onService('gone'),
    warning: (error) => say(isQuiet() ? 'debug' : 'warn', `${error.code} ${error.message}`, lineOf(error), { error }),
    error: (error) => say('error', `${error.code} ${error.message}`, lineOf(error), { error }),
  };
  const all = Object.entries(listeners) as unknown as ReadonlyArray<['error', (error: CodedError) => void]>;
  for (const [event, listener] of all) node.on(event, listener);
  return () => {
    for (const [event, listener] of all) node.off(event, listener);
  };
}

/** How often the same thing came while it was not written. */
class Repeats {
  private readonly known = new Map<string, { untilMs: number; suppressed: number }>();

  constructor(
    private readonly now: () => number,
    private readonly quietMs: number,
  ) {}

  /** Returns undefined when the line is not to be written; else how often it was not since the last one. */
  take(key: string): number | undefined {
    const now = this.now();
    const found = this.known.get(key);
    if (found !== undefined && now < found.untilMs) {
      found.suppressed++;
      return undefined;
    }
    this.known.delete(key);
    this.known.set(key, { untilMs: now + this.quietMs, suppressed: 0 });
    if (this.known.size > MAX_REMEMBERED) {
      const [oldest] = this.known.keys();
      this.known.delete(oldest);
    }
    return found?.suppressed ?? 0;
  }
}
