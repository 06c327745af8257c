// A command at the control socket of a node, for as long as it uses that node. A unix socket has no reset: resets of circuits go over the
// session, which also shows each end when the process of the other one has gone.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { codeOf, netError } from '../../errors.js';
import type { PeerInfo } from '../../socket/endpoints.js';
import { ControlCircuit } from './circuit.js';
import { readLines, writeLine } from './lines.js';
import { ConnectAnswer, isNobodyThere, noAnswer, nodeHasEnded, requestConnect } from './request.js';

const ANSWER_MS = 30_000;

export class ControlSession {
  private readonly circuits = new Map<string, ControlCircuit>();
  private nextCircuit = 0;
  private onLost: ((error: Error) => void) | undefined;
  isLost = false;

  private constructor(
    private readonly path: string,
    private readonly socket: Socket,
    /** Its name at the node. */
    private readonly name: string,
    /** The id of the node. */
    readonly nodeId: string,
    /** Whether others find what is bound: not if the node is a client. */
    readonly offers: boolean,
    /** Whether the node drains, so that its process ends soon. */
    readonly ends: boolean,
  ) {}

  /** Begins a session. Returns undefined when no node runs there, or its process ends meanwhile. @throws Failure, or what the node answers */
  static async open(path: string): Promise<ControlSession | undefined> {
    const socket = requestConnect(path, 'session');
    const answer = new ConnectAnswer();
    const timer = setTimeout(() => socket.destroy(noAnswer(ANSWER_MS)), ANSWER_MS);
    try {
      let rest: Buffer | undefined;
      for (;;) {
        const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'end')])) as [Buffer?];
        if (chunk === undefined && answer.isEmpty) throw netError('ECONNRESET', 'read');
        if (chunk === undefined) throw answer.refusal();
        const got = answer.push(chunk);
        if (got instanceof Error) throw got;
        rest = got;
        if (rest?.includes(0x0a)) break;
      }
      socket.pause();
      const end = rest.indexOf(0x0a);
      const first = JSON.parse(rest.toString('utf8', 0, end)) as {
        session: string;
        id: string;
        offers: boolean;
        ends: boolean;
      };
      if (rest.length > end + 1) socket.unshift(rest.subarray(end + 1));
      const made = new ControlSession(path, socket, first.session, first.id, first.offers, first.ends);
      made.begin();
      return made;
    } catch (error) {
      socket.on('error', () => {});
      socket.destroy();
      if (isNobodyThere(error) || codeOf(error) === 'ECONNRESET' || codeOf(error) === 'EPIPE') return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Calls `onLost` when the process of the node has ended, also if that was before. */
  whenLost(onLost: (error: Error) => void): void {
    this.onLost = onLost;
    if (this.isLost) onLost(nodeHasEnded());
  }

  /** Returns a circuit that the node is asked for: `dial`, or `take` for one that a bind has announced. */
  connect(kind: 'dial' | 'take', query: URLSearchParams, peer?: PeerInfo): ControlCircuit {
    const id = String(this.nextCircuit++);
    query.set('session', this.name);
    query.set('circuit', id);
    const circuit: ControlCircuit = new ControlCircuit(requestConnect(this.path, `${kind}?${query}`), this, id, peer);
    this.circuits.set(id, circuit);
    circuit.once('close', () => this.circuits.delete(id));
    return circuit;
  }

  /** Asks the node to reset a circuit. It closes the socket of it then. */
  sendReset(id: string): void {
    writeLine(this.socket, { reset: id });
  }

  /** Says what this process does, for `starlane status`. */
  report(tasks: readonly string[]): void {
    writeLine(this.socket, { tasks, pid: process.pid });
  }

  close(): void {
    this.onLost = undefined;
    this.socket.destroy();
  }

  private begin(): void {
    readLines(this.socket, ({ reset }) => {
      this.circuits.get(String(reset))?.destroy(netError('ECONNRESET', 'read'));
    });
    this.socket.on('error', () => {});
    const lost = () => this.lose();
    this.socket.once('end', lost);
    this.socket.once('close', lost);
    this.socket.resume();
  }

  private lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.socket.destroy();
    for (const circuit of [...this.circuits.values()]) circuit.destroy(netError('ECONNRESET', 'read'));
    this.onLost?.(nodeHasEnded());
  }
}
