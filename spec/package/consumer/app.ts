// A program of a user, as strict as there are: it is compiled against the declarations that the package ships, by several
// versions of TypeScript (declarations.spec.ts). It does not run. What must not compile says so.

import { createServer, get } from 'node:http';
import type * as nodeNet from 'node:net';
import { type Duplex, PassThrough } from 'node:stream';
import {
  type Allow,
  type AllowRule,
  type BindOptions,
  type CodedError,
  createNode,
  type DialOptions,
  type ErrorCode,
  hash,
  type Link,
  type LinkListener,
  type Node,
  type NodeOptions,
  type NodeStats,
  type RouteInfo,
  type Server,
  type ServiceInfo,
  type Socket,
  StarlaneError,
  type WaitOptions,
} from 'starlane';
import {
  type AgentOptions,
  agent,
  type Connector,
  type ConnectorOptions,
  connector,
  serviceAddress,
} from 'starlane/http';
import { type ApiClient, apiClient, defineApi, serveApi, stream } from 'starlane/messages';
import { GoAwayCode, Session, type SessionOptions, type Stream } from 'starlane/mux';
import 'starlane/register';

/** The names of optional properties that do not take `undefined` where exactOptionalPropertyTypes is on. */
type Exact<Options> = {
  [Name in keyof Options]-?: Record<never, never> extends Pick<Options, Name>
    ? undefined extends Required<Pick<Options, Name>>[Name]
      ? never
      : Name
    : never;
}[keyof Options];

/** Compiles only for `never`. */
function nothing<_Names extends never>(): void {}

// An option of a user may come from a variable that is not set.
nothing<Exact<NodeOptions>>();
nothing<Exact<NonNullable<NodeOptions['tls']>>>();
nothing<Exact<DialOptions>>();
nothing<Exact<BindOptions>>();
nothing<Exact<WaitOptions>>();
nothing<Exact<NonNullable<Parameters<Node['join']>[1]>>>();
nothing<Exact<NonNullable<Parameters<Node['attach']>[1]>>>();
nothing<Exact<Pick<AgentOptions, 'address' | 'dial' | 'keepAlive'>>>();
nothing<Exact<Pick<ConnectorOptions, 'address' | 'dial' | 'timeout' | 'allowH2' | 'useH2c' | 'maxCachedSessions'>>>();
nothing<Exact<SessionOptions>>();

// A rule that names what is missing by mistake would fit everybody.
// @ts-expect-error what is named must not be undefined
export const rule: AllowRule = { id: undefined };
// @ts-expect-error there is no such option
export const unknown: NodeOptions = { surprise: true };
// @ts-expect-error a role is one of four
export const role: NodeOptions = { role: 'king' };

const allow: Allow = async ({ peer, service }) => peer.verified && service !== 'admin';
const options: NodeOptions = { secret: process.env['SECRET'], env: ['blue'], dialTimeoutMs: 1000, allow };
const node: Node = createNode(options);

/** Codes are there without a cast, and known ones are completed by the editor. */
function report(error: CodedError): string {
  const known: ErrorCode = 'ERR_STARLANE_DUPLICATE_IDENTITY';
  return error.code === known ? 'twin' : error.code.toLowerCase();
}

node.on('warning', (error) => report(error));
node.on('error', (error) => report(error));
node.on('warning', ({ code, message, cause }) => console.log(code.length, message, cause));
node.on('link', (link: Link) => link.ping().then((ms: number) => ms.toFixed()));
node.on('unlink', (link, reason) => [link.peerId, reason?.code, reason?.message]);
node.on('warning', (error: Error) => error.message);
node.once('service', (service: ServiceInfo) => service.service);

const server: Server = node.bind('echo', { allowHalfOpen: true, meta: { zone: 1 } }, (socket: Socket) => {
  const stream: Duplex = socket;
  stream.pipe(socket);
});
server.on('error', (error) => error.code === 'EADDRINUSE');
server.on('drop', (dropped) => dropped?.remoteAddress);
node.bind('web', createServer());

const socket: Socket = node.dial('echo', { selector: hash('key'), signal: undefined });
socket.setTimeout(1000).ref().unref().end('hello');
socket.on('error', (error: NodeJS.ErrnoException) => error.code);
socket.on('data', (chunk: Buffer) => chunk.length);
const port: number | undefined = socket.remotePort;
const via: string[] | undefined = socket.peer?.via;

export async function main(): Promise<void> {
  const listener: LinkListener = await node.listenAndServe('tcp://127.0.0.1:0');
  const link: Link = await node.join(listener.address, { signal: AbortSignal.timeout(1000) });
  await node.attach(new PassThrough(), { initiator: true });
  const stats: NodeStats = node.stats();
  const routes: RouteInfo[] = node.routes();
  for (const [name, instances] of node.serviceMap()) console.log(name, instances.length);
  try {
    await node.waitFor('echo', { timeoutMs: 1 });
  } catch (error) {
    if (error instanceof StarlaneError) report(error);
  }
  for await (const chunk of socket) console.log(`${chunk}`);
  console.log(link.rttMs, stats.relay.circuits, stats.mesh.recordsIn, routes[0]?.hops, port, via);
  await node.close();
}

// Programs for node:net take what the node has instead.
const net: typeof nodeNet = node.net;
const accepted: nodeNet.Server = net.createServer((each) => each.end());
accepted.listen(80, 'web');
export const stand: nodeNet.Socket = node.net.connect({ host: 'web', port: 80 });

get('http://web/', { agent: agent(node, { keepAlive: true, dial: { timeoutMs: 10 } }) });
export const connect: Connector = connector(node, { timeout: undefined });
export const address: string = serviceAddress({ hostname: 'web', port: 80, protocol: 'http:' });

const session = new Session(new PassThrough(), { client: true, keepAliveMs: undefined });
session.on('stream', (stream: Stream) => stream.reset());
session.on('error', (error) => error.code);
session.goAway(GoAwayCode.NORMAL);

/** A schema of any library: it takes texts and makes numbers of them. */
interface NumberSchema {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (
      value: unknown,
    ) => { readonly value: number } | { readonly issues: readonly { readonly message: string }[] };
    readonly types?: { readonly input: string; readonly output: number };
  };
}
declare const schema: NumberSchema;

const api = defineApi({
  name: 'numbers',
  version: '1.0.0',
  commands: {
    double: { number: 1, input: schema, output: schema, handler: (input) => (input * 2).toFixed() },
    many: {
      number: 2,
      input: stream(schema),
      output: stream(schema),
      async *handler(input, { signal }) {
        for await (const item of input) yield signal.aborted ? '0' : item.toFixed();
      },
    },
    wrong: {
      number: 3,
      output: schema,
      // @ts-expect-error a text is needed
      handler: () => 3,
    },
  },
});
serveApi(node, api, { handlers: { double: (input) => input.toFixed() } });

export async function calls(client: ApiClient<typeof api> = apiClient(node, api)): Promise<number> {
  // @ts-expect-error a text is needed
  await client.double(3);
  for await (const item of apiClient<typeof api>(node, 'numbers').many(['1'])) return item;
  return client.double('3', { timeoutMs: 1000 });
}
