// A client of SOCKS, from its first byte to the answer of its request.

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../../errors.js';
import type { Password } from '../password.js';
import {
  Command,
  Malformed,
  Method,
  methodReply,
  type Parsed,
  parseGreeting,
  parsePassword,
  parseRequest,
  parseRequest4,
  passwordReply,
  Reply,
  type Request,
  reply,
  reply4,
  replyFor,
} from './wire.js';

/** How long a client may take for all it has to say. */
const GREETING_MS = 10_000;
/** More than any greeting, password and request together. */
const MAX_BYTES = 2048;

export interface GreetingOwner {
  readonly password: Password | undefined;
  /** Opens what the client asks for. May reject with an error with a code. */
  open(host: string, port: number): Promise<Duplex>;
  /** Takes over both. */
  onOpen(socket: Socket, circuit: Duplex): void;
  onFailed(error: Error): void;
  /** Called when it is over, with success or without. */
  onDone(greeting: Greeting): void;
}

type Step = 'version' | 'password' | 'request' | 'opening';

export class Greeting {
  private bytes: Buffer = Buffer.alloc(0);
  private step: Step = 'version';
  private version = 5;
  private circuit: Duplex | undefined;
  private isDone = false;
  private readonly timer: NodeJS.Timeout;
  private readonly onData = (chunk: Buffer) => this.read(chunk);
  private readonly onGone = () => this.end();
  private readonly onEnd = () => this.destroy();
  private readonly onError = () => {};

  constructor(
    readonly socket: Socket,
    private readonly owner: GreetingOwner,
    greetingMs = GREETING_MS,
  ) {
    this.timer = setTimeout(() => this.destroy(), greetingMs);
    socket.on('data', this.onData);
    socket.on('error', this.onError);
    socket.once('close', this.onGone);
    socket.once('end', this.onEnd);
  }

  /** Ends it at once. */
  destroy(): void {
    this.end();
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    try {
      while (this.next());
      if (this.step === 'opening') return;
      if (this.bytes.length > MAX_BYTES) throw new Malformed('too many bytes');
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.refuse(error.reply);
    }
  }

  /** Reads one message. Returns false when it needs more bytes, or none. */
  private next(): boolean {
    if (this.isDone || this.bytes.length === 0) return false;
    switch (this.step) {
      case 'version':
        return this.onVersion();
      case 'password': {
        const message = this.take(parsePassword(this.bytes));
        if (message === undefined) return false;
        const isRight = this.owner.password?.isRight(message.user, message.password) === true;
        this.socket.write(passwordReply(isRight));
        if (!isRight) throw new Malformed('wrong password');
        this.step = 'request';
        return true;
      }
      case 'request': {
        const request = this.take(parseRequest(this.bytes));
        if (request !== undefined) this.onRequest(request);
        return false;
      }
      case 'opening':
        return false;
    }
  }

  private onVersion(): boolean {
    const [version] = this.bytes;
    this.version = version;
    if (version === 4) {
      // It has a name for the user, and no password.
      if (this.owner.password !== undefined) throw new Malformed('SOCKS4 has no password');
      const request = this.take(parseRequest4(this.bytes));
      if (request !== undefined) this.onRequest(request);
      return false;
    }
    if (version !== 5) throw new Malformed(`version ${version}`);
    const greeting = this.take(parseGreeting(this.bytes));
    if (greeting === undefined) return false;
    const method = this.owner.password === undefined ? Method.NONE : Method.PASSWORD;
    const isOffered = greeting.methods.includes(method);
    this.socket.write(methodReply(isOffered ? method : Method.NOT_ACCEPTABLE));
    if (!isOffered) throw new Malformed('no method in common');
    this.step = method === Method.PASSWORD ? 'password' : 'request';
    return true;
  }

  private take<T>(parsed: Parsed<T>): Parsed<T> {
    if (parsed !== undefined) this.bytes = this.bytes.subarray(parsed.length);
    return parsed;
  }

  private onRequest({ command, host, port }: Request): void {
    this.step = 'opening';
    if (command !== Command.CONNECT) {
      this.refuse(Reply.COMMAND_NOT_SUPPORTED);
      return;
    }
    clearTimeout(this.timer);
    const { socket } = this;
    // What it sends early waits in its socket.
    socket.removeListener('data', this.onData);
    socket.pause();
    this.owner.open(host, port).then(
      (circuit) => this.onCircuit(circuit),
      (error: Error) => this.fail(error),
    );
  }

  private onCircuit(circuit: Duplex): void {
    if (this.isDone) {
      circuit.on('error', () => {});
      circuit.destroy();
      return;
    }
    this.circuit = circuit;
    const failed = (error: Error) => this.fail(error);
    circuit.once('error', failed);
    circuit.once('connect', () => {
      circuit.removeListener('error', failed);
      if (this.isDone) return;
      this.circuit = undefined;
      const { socket } = this;
      this.end();
      socket.removeListener('error', this.onError);
      socket.write(this.version === 4 ? reply4(true) : reply(Reply.SUCCEEDED));
      if (this.bytes.length > 0) socket.unshift(this.bytes);
      this.owner.onOpen(socket, circuit);
    });
  }

  private fail(error: Error): void {
    if (this.isDone) return;
    this.owner.onFailed(error);
    this.refuse(replyFor(codeOf(error)));
  }

  /** Answers where the protocol has an answer, and closes. */
  private refuse(code: number | undefined): void {
    const { socket } = this;
    if (this.isDone) return;
    this.end();
    if (this.version === 4) socket.write(reply4(false));
    else if (code !== undefined) socket.write(reply(code));
    // Bytes that were not read would make the kernel reset the connection, and the client would lose the answer.
    socket.removeListener('data', this.onData);
    socket.resume();
    socket.end();
    const timer = setTimeout(() => socket.destroy(), 1_000);
    socket.once('close', () => clearTimeout(timer));
  }

  private end(): void {
    if (this.isDone) return;
    this.isDone = true;
    clearTimeout(this.timer);
    this.socket.removeListener('close', this.onGone);
    this.socket.removeListener('end', this.onEnd);
    this.circuit?.on('error', () => {});
    this.circuit?.destroy();
    this.owner.onDone(this);
  }
}
