// The control socket of a node that runs: other commands of the same user ask it, and use its node. See wire.ts.

import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { netError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import type { QueryHandler } from '../../node/queries/api.js';
import { pingNode, trace } from '../../node/queries/client.js';
import { createApi } from '../../node/queries/queries.js';
import type { AllowRequest } from '../../options/allow.js';
import { Failure } from '../failure.js';
import { listenAlone } from '../local/stale-socket.js';
import { NodeOverlay, type OverlayBindOptions, type OverlayServer, type OverlaySocket } from '../run/overlay.js';

import type { NodeWork } from '../run/task.js';
import { answerTask, type StartHosted } from './hosting.js';
import { measure } from './measure.js';
import { ControlSessions, type SharedTask } from './sessions.js';

import { type BindLine, MAX_BODY_BYTES, sentError } from './wire.js';

/** How long a command may take to close the socket of a circuit that was refused. */
const REFUSED_MS = 5_000;

export interface ControlOwner {
  readonly node: Node;
  /** Whether others find what is bound: not if the node is a client. */
  readonly offers: boolean;
  status(): unknown;
  reload(): Promise<void>;
  /** Starts a task for another command. */
  readonly start: StartHosted;
}

/** Thrown when another process listens at the path. */
export class AlreadyRunning extends Error {}

export class ControlServer {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly sessions = new ControlSessions();
  /** Circuits of binds that nobody has taken yet. */
  private readonly waiting = new Map<string, WaitingCircuit>();
  private overlay: NodeOverlay | undefined;
  private owner: ControlOwner | undefined;
  private api: QueryHandler | undefined;
  private nextTicket = 0;
  /** Connections that came before the node was there. */
  private readonly early: Array<() => void> = [];

  constructor(readonly path: string) {
    this.server = createServer((request, response) => this.onRequest(request, response));
    this.server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      try {
        this.onConnect(request, socket, head);
      } catch {
        socket.destroy();
      }
    });
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.server.on('clientError', (_error, socket) => socket.destroy());
    // A bind stays open for as long as the command runs.
    this.server.requestTimeout = 0;
  }

  /** Listens. @throws AlreadyRunning, or what listen throws */
  async listen(): Promise<void> {
    if (!(await listenAlone(this.path, () => this.listenThere()))) throw new AlreadyRunning(this.path);
  }

  private async listenThere(): Promise<void> {
    this.server.listen(this.path);
    await once(this.server, 'listening');
    if (process.platform !== 'win32') chmodSync(this.path, 0o600);
  }

  /** Answers from now on; until then requests get 503, and circuits wait. */
  serve(owner: ControlOwner): void {
    this.owner = owner;
    this.overlay = new NodeOverlay(owner.node);
    for (const begin of this.early.splice(0)) begin();
  }

  /** What other processes do with the node of this one. */
  get sharedTasks(): SharedTask[] {
    return this.sessions.tasks;
  }

  async close(): Promise<void> {
    for (const { refuse } of [...this.waiting.values()]) refuse(new Error('the node is closing'));
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else sendJson(response, 400, sentError(error));
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { owner } = this;
    if (owner === undefined) {
      sendJson(response, 503, sentError(new Failure('the node is starting')));
      return;
    }
    const { node } = owner;
    const { pathname, searchParams } = new URL(request.url ?? '/', 'control:///');
    if (pathname.startsWith('/v1/')) {
      this.api ??= createApi(node);
      this.api(request, response);
      return;
    }
    const target = searchParams.get('target') ?? '';
    const timeout = searchParams.get('timeout');
    const signal = gone(response);
    const waits = { signal, ...(timeout === null ? {} : { timeoutMs: Number(timeout) }) };
    switch (`${request.method} ${pathname}`) {
      case 'GET /control/status':
        return sendJson(response, 200, owner.status());
      case 'GET /control/members':
        return sendJson(response, 200, node.members());
      case 'GET /control/services':
        return sendJson(response, 200, node.services());
      case 'GET /control/offers':
        return sendJson(response, 200, node.serviceMap().has(searchParams.get('service') ?? ''));
      case 'POST /control/invite':
        return sendJson(response, 200, { token: await node.invite((await bodyOf(request)) as never) });
      case 'POST /control/revoke':
        return sendJson(response, 200, await node.revoke(((await bodyOf(request)) as { member: string }).member));
      case 'POST /control/reload':
        await owner.reload();
        return sendJson(response, 200, {});
      case 'GET /control/query':
        return sendJson(response, 200, await node.query(target, searchParams.get('path') ?? '', waits));
      case 'GET /control/ping':
        return sendJson(
          response,
          200,
          await pingNode(node, target, { ...waits, samples: Number(searchParams.get('samples') ?? 1) }),
        );
      case 'GET /control/trace':
        return sendJson(response, 200, await trace(node, target, waits));
      case 'GET /control/bench': {
        const [durationMs, streams] = ['duration', 'streams'].map((name) => Number(searchParams.get(name) ?? 1));
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        const plan = { target, durationMs, streams, isEcho: searchParams.get('echo') === 'true', signal };
        try {
          for await (const step of measure(node, plan)) response.write(`${JSON.stringify(step)}\n`);
        } catch (error) {
          response.write(`${JSON.stringify({ error: sentError(error) })}\n`);
        }
        response.end();
        return;
      }
      case 'POST /control/task':
        return answerTask(owner.start, (await bodyOf(request)) as NodeWork, response);
      case 'POST /control/refuse': {
        const { id, reason } = (await bodyOf(request)) as { id: string; reason: string };
        this.waiting.get(id)?.refuse(new Error(reason));
        return sendJson(response, 200, {});
      }
      case 'POST /control/bind':
        return this.bind((await bodyOf(request)) as BindRequest, response);
      default:
        return sendJson(
          response,
          404,
          sentError(new Failure(`the running node does not know ${request.method} ${request.url}`)),
        );
    }
  }

  /** Binds a service for the process at the other end, for as long as the answer is open. */
  private async bind({ address, ...options }: BindRequest, response: ServerResponse): Promise<void> {
    let server: OverlayServer | undefined;
    const isGone = () => response.destroyed || response.writableEnded;
    const send = (line: BindLine) => {
      if (!isGone()) response.write(`${JSON.stringify(line)}\n`);
    };
    const announced = new Set<string>();
    const prepare = (request: AllowRequest, signal: AbortSignal) => {
      if (isGone()) throw new Error('its process has ended');
      const id = String(this.nextTicket++);
      announced.add(id);
      return new Promise<TakenCircuit>((resolve, reject) => {
        let taken: TakenCircuit | undefined;
        const leave = () => {
          announced.delete(id);
          this.waiting.delete(id);
        };
        this.waiting.set(id, {
          take: (by) => {
            leave();
            taken = by;
            resolve(by);
          },
          refuse: (error) => {
            leave();
            reject(error);
          },
        });
        signal.addEventListener('abort', () => {
          leave();
          taken?.refuse(netError('ECONNRESET', 'read'));
          send({ gone: id });
        });
        send({ id, request });
      });
    };
    server = await (this.overlay as NodeOverlay).bind(address, { ...options, prepare }, (circuit, taken) =>
      taken.accept(circuit),
    );
    const close = () => {
      void server?.close();
      for (const id of [...announced]) this.waiting.get(id)?.refuse(new Error('its process has ended'));
    };
    if (isGone()) return close();
    response.once('close', close);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    send({ bound: true });
  }

  private onConnect(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => {});
    const refuse = (error: unknown) => {
      const text = JSON.stringify(sentError(error));
      const answer = `HTTP/1.1 502 Bad Gateway\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`;
      socket.end(answer);
      // What was written ahead of the circuit: left unread, it would make a reset of the end, and the reason would be lost.
      socket.resume();
      socket.once('end', () => socket.destroy());
      const timer = setTimeout(() => socket.destroy(), REFUSED_MS);
      socket.once('close', () => clearTimeout(timer));
    };
    const { overlay } = this;
    if (overlay === undefined) {
      // Two commands that are started together.
      this.early.push(() => this.onConnect(request, socket, head));
      return;
    }
    if (head.length > 0) socket.unshift(head);
    const [kind, query] = splitTarget(request.url ?? '');
    const accept = (circuit: OverlaySocket) => {
      socket.write(ACCEPTED);
      this.sessions.join(query.get('session'), query.get('circuit'), socket, circuit);
    };
    switch (kind) {
      case 'session':
        socket.write(ACCEPTED);
        return this.sessions.open(
          socket,
          overlay.id,
          this.owner?.offers !== false,
          overlay.node.stats().state !== 'open',
        );
      case 'take': {
        const waiting = this.waiting.get(query.get('id') ?? '');
        if (waiting === undefined) return refuse(netError('ECONNRESET', 'read'));
        return waiting.take({
          accept: (circuit) => {
            this.sessions.note(query.get('session'), query.get('circuit'), socket, circuit);
            accept(circuit);
          },
          refuse,
        });
      }
      case 'dial':
        return this.dial(overlay, query, socket, refuse, accept);
      default:
        return refuse(new Failure(`the running node does not know CONNECT ${kind}`));
    }
  }

  private dial(
    overlay: NodeOverlay,
    query: URLSearchParams,
    socket: Socket,
    refuse: (error: unknown) => void,
    accept: (circuit: OverlaySocket) => void,
  ): void {
    const numberOf = (name: string) => {
      const text = query.get(name);
      return text === null ? undefined : Number(text);
    };
    let dialled: OverlaySocket;
    try {
      dialled = overlay.dial(query.get('to') ?? '', {
        timeoutMs: numberOf('timeout'),
        key: query.get('key') ?? undefined,
        preferredPort: numberOf('port'),
      });
    } catch (error) {
      return refuse(error);
    }
    this.sessions.note(query.get('session'), query.get('circuit'), socket, dialled);
    const giveUp = () => dialled.destroy();
    dialled.once('error', refuse);
    socket.once('close', giveUp);
    dialled.once('connect', () => {
      dialled.removeListener('error', refuse);
      socket.removeListener('close', giveUp);
      accept(dialled);
    });
  }
}

const ACCEPTED = 'HTTP/1.1 200 OK\r\n\r\n';

/** Splits `dial?to=web`. */
function splitTarget(target: string): [kind: string, query: URLSearchParams] {
  const at = target.indexOf('?');
  return at < 0 ? [target, new URLSearchParams()] : [target.slice(0, at), new URLSearchParams(target.slice(at + 1))];
}

interface BindRequest extends OverlayBindOptions {
  readonly address: string;
}

/** A circuit that the process of a bind may take or refuse. */
interface WaitingCircuit {
  take(by: TakenCircuit): void;
  refuse(error: Error): void;
}

/** The request of the process that takes a circuit. */
interface TakenCircuit {
  accept(circuit: OverlaySocket): void;
  refuse(error: unknown): void;
}

/** Returns a signal that is aborted when the other end has gone. */
function gone(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort());
  return controller.signal;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Failure('the request is too long');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString());
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
