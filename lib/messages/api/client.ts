// The client of an API: an object with a method for each command.

import { isServiceName } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import { checkNode } from '../node-argument.js';
import { ApiCaller, type ApiClientOptions, type CallOptions } from './caller.js';
import {
  type Api,
  type Command,
  type Commands,
  checkApi,
  type Given,
  type Got,
  isCommandName,
  type Streamed,
} from './definition.js';
import type { ApiDescription } from './description.js';
import type { ApiNetwork } from './network.js';
import { networkOf } from './node-network.js';
import { PendingOutput } from './pending-output.js';

/** What a call returns: a promise, or for an output that is a stream what is iterated. Leaving the loop cancels the call. */
export type Output<O> = O extends Streamed
  ? Got<O> extends AsyncIterable<infer Item>
    ? AsyncIterable<Item>
    : never
  : Promise<Got<O>>;

/** A command as a method. */
export type Method<I, O> = unknown extends I
  ? // biome-ignore lint/suspicious/noExplicitAny: without a schema, any JSON value is an input.
    (input?: any, options?: CallOptions) => Output<O>
  : undefined extends Given<I>
    ? (input?: Given<I>, options?: CallOptions) => Output<O>
    : (input: Given<I>, options?: CallOptions) => Output<O>;

type MethodOf<C> = C extends Command<infer I, infer O> ? Method<I, O> : never;

/** What each client has besides the methods of its commands. */
export interface ClientMethods<C extends Commands> {
  /** Calls a command by its name, as its method does. @throws ERR_STARLANE_API when there is none of that name */
  call<K extends keyof C & string>(command: K, ...args: Parameters<MethodOf<C[K]>>): ReturnType<MethodOf<C[K]>>;
  /** Asks an instance for the self-description of the API, for up to 5 s. */
  describe(): Promise<ApiDescription>;
}

/** The client of a definition: a method for each command, and {@link ClientMethods}. */
export type ApiClient<A> = A extends { readonly commands: infer C extends Commands }
  ? { readonly [K in keyof C]: MethodOf<C[K]> } & ClientMethods<C>
  : never;

/** A call without types: `await` it for one output, or iterate over a stream. */
export interface UntypedOutput extends PromiseLike<Untyped>, AsyncIterable<Untyped> {}

// biome-ignore lint/suspicious/noExplicitAny: nothing is known before the API has described itself.
type Untyped = any;
type UntypedMethod = (input?: Untyped, options?: CallOptions) => Untyped;

/** A client by self-description: each name of a command is a method, and has no types. */
export type UntypedClient = { readonly [command: string]: UntypedMethod } & {
  /** Calls a command by its name, as its method does. @throws ERR_STARLANE_API when there is none of that name */
  call(command: string, input?: unknown, options?: CallOptions): UntypedOutput;
  /** Asks an instance for the self-description of the API, for up to 5 s. */
  describe(): Promise<ApiDescription>;
};

/**
 * Returns a client of an API: with a method for each command, such as `client.hello({ name })`. It finds the instances of the service by itself,
 * and spreads calls over them.
 *
 * With a definition, inputs and outputs are checked here as well, and their types are known. With a name, the API describes itself at the first
 * call: `apiClient<typeof api>(node, 'name')` has the types nevertheless.
 * @throws ERR_STARLANE_ARGUMENT for what is no node or no API; ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS
 */
export function apiClient<A extends Api>(node: Node, api: A, options?: ApiClientOptions): ApiClient<A>;
export function apiClient<A = undefined>(
  node: Node,
  name: string,
  options?: ApiClientOptions,
): A extends undefined ? UntypedClient : ApiClient<A>;
export function apiClient(node: Node, of: Api | string, options?: ApiClientOptions): unknown {
  checkNode(node, 'apiClient(node, api)');
  if (typeof of !== 'string') checkApi(of, 'apiClient(node, api)');
  return clientOver(networkOf(node), of, options);
}

/** Returns a client over any network. */
export function clientOver(network: ApiNetwork, of: Api | string, options?: ApiClientOptions): UntypedClient {
  const name = typeof of === 'string' ? of : of.name;
  if (!isServiceName(name)) throw starlaneError('ERR_STARLANE_ADDRESS', `${name} is not the name of a service`);
  return proxyOf(new ApiCaller(network, name, typeof of === 'string' ? undefined : of, options));
}

function proxyOf(caller: ApiCaller): UntypedClient {
  const methods = new Map<PropertyKey, unknown>();
  const call = (command: string, input?: unknown, options?: CallOptions): unknown => {
    if (caller.isDescribed) return new PendingOutput(caller, command, input, options);
    return caller.defined(command)?.streamsOutput === true
      ? caller.many(command, input, options)
      : caller.once(command, input, options);
  };
  methods.set('call', call);
  methods.set('describe', () => caller.describe());
  const methodOf = (name: string | symbol): unknown => {
    const known = methods.get(name);
    // Not a promise, and not what consoles and matchers of tests ask every object for.
    if (known !== undefined || typeof name === 'symbol' || !isMethod(caller, name)) return known;
    const made = (input?: unknown, options?: CallOptions): unknown => call(name, input, options);
    methods.set(name, made);
    return made;
  };
  return new Proxy(Object.create(null), { get: (_target, name) => methodOf(name) });
}

function isMethod(caller: ApiCaller, name: string): boolean {
  return caller.isDescribed ? isCommandName(name) : caller.defined(name) !== undefined;
}
