// Sessions of commands that use the node of this process, see session.ts for their side.

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Passage, reset } from '../../socket/passage.js';
import { readLines, writeLine } from './lines.js';

/** How long a command may take to close the socket of a circuit that was reset. */
const RESET_MS = 5_000;

/** Something that another process does with the node of this one. */
export interface SharedTask {
  readonly task: string;
  /** The id of its process. */
  readonly process: number;
}

/** A command has as many as its command line names. */
const MAX_TASKS = 1_000;

interface Session {
  readonly socket: Socket;
  /** What the command does, as it says. */
  tasks: readonly SharedTask[];
  readonly circuits: Map<string, { readonly socket: Socket; readonly circuit: Duplex }>;
}

export class ControlSessions {
  private readonly sessions = new Map<string, Session>();
  private nextName = 0;

  /** What other processes do with the node. */
  get tasks(): SharedTask[] {
    return [...this.sessions.values()].flatMap(({ tasks }) => tasks);
  }

  /** Takes the socket for the lines of a new session. */
  open(socket: Socket, nodeId: string, offers: boolean, ends: boolean): void {
    const name = String(this.nextName++);
    const circuits: Session['circuits'] = new Map();
    const session: Session = { socket, circuits, tasks: [] };
    this.sessions.set(name, session);
    readLines(socket, ({ reset: id, tasks, pid }) => {
      if (Array.isArray(tasks)) {
        session.tasks = tasks.slice(0, MAX_TASKS).map((task) => ({ task: String(task), process: Number(pid) }));
        return;
      }
      const joined = circuits.get(String(id));
      if (joined === undefined) return;
      reset(joined.circuit);
      joined.socket.destroy();
    });
    writeLine(socket, { session: name, id: nodeId, offers, ends });
    socket.once('end', () => socket.destroy());
    socket.once('close', () => {
      this.sessions.delete(name);
      // What its process had not ended is not complete.
      for (const { circuit, socket: of } of [...circuits.values()]) {
        reset(circuit);
        of.destroy();
      }
    });
  }

  /** Notes a circuit of a session, so that it ends with the session, and can be reset by it. */
  note(name: string | null, id: string | null, socket: Socket, circuit: Duplex): void {
    const session = this.sessions.get(name ?? '');
    if (session === undefined || id === null || session.circuits.has(id)) return;
    session.circuits.set(id, { socket, circuit });
    socket.once('close', () => session.circuits.delete(id));
  }

  /** Joins a socket of a session with the circuit that was noted. Without a session, a reset of the circuit is an end of the socket. */
  join(name: string | null, id: string | null, socket: Socket, circuit: Duplex): void {
    const session = this.sessions.get(name ?? '');
    if (session !== undefined && id !== null && session.circuits.get(id)?.socket === socket) {
      socket.resetAndDestroy = () => {
        writeLine(session.socket, { reset: id });
        // Not yet: its end would look like the end of the circuit.
        const timer = setTimeout(() => socket.destroy(), RESET_MS);
        socket.once('close', () => clearTimeout(timer));
        return socket;
      };
    }
    new Passage(socket, circuit);
  }
}
