// Every error that Starlane makes itself, in one table, which `npm run docs:tables` writes to docs/api.md.
// There are two families: the codes of node:net, and ERR_STARLANE_* for configuration and protocol faults.

import { nodeUtil } from './util/runtime/builtins.js';

/** Code and meaning of every error. `message` is the text of a StarlaneError, and the second column of the table in docs/api.md. */
export const ERRORS = {
  // Sockets and servers: what node:net reports in the same situation.
  ENOTFOUND: { message: 'no node offers the service within the timeout' },
  EHOSTUNREACH: { message: 'no route to the node' },
  ECONNREFUSED: { message: 'nothing is bound there, or its backlog is full' },
  EACCES: { message: 'the other end, or every relay that leads there, does not allow it' },
  ETIMEDOUT: { message: 'no answer within the timeout' },
  ECONNRESET: { message: 'the other end reset the stream, or the link was lost' },
  EPIPE: { message: 'write after the stream was closed' },
  ENOENT: { message: 'no node offers the service that net.connect was given as a path' },
  EALREADY: { message: 'the socket is already connecting' },
  EISCONN: { message: 'the socket is already connected' },
  EADDRINUSE: { message: 'this node has already bound the service and port' },
  EADDRNOTAVAIL: { message: 'a server can be bound at its own node only' },
  ECANCELED: { message: 'the node or server was closed before the operation was done' },

  // Configuration and calls.
  ERR_STARLANE_OPTION: { message: 'unknown or invalid option' },
  ERR_STARLANE_ARGUMENT: { message: 'invalid argument' },
  ERR_STARLANE_ADDRESS: { message: 'invalid address' },
  ERR_STARLANE_ALLOW: { message: 'the function of the option allow failed' },
  ERR_STARLANE_CLIENT_BIND: { message: 'a node with role client announces no services' },
  ERR_STARLANE_INSECURE: { message: 'plain tcp beyond loopback needs the option insecure: true' },
  ERR_STARLANE_CLOSED: { message: 'the node, link or session is closed' },

  // Links: from the transport to a finished handshake.
  ERR_STARLANE_TRANSPORT: { message: 'the transport of the link failed' },
  ERR_STARLANE_HANDSHAKE: { message: 'the peer refused the handshake or broke it' },
  ERR_STARLANE_HANDSHAKE_TIMEOUT: { message: 'the peer did not finish the handshake in time' },
  ERR_STARLANE_VERSION: { message: 'the two nodes have no protocol version in common' },
  ERR_STARLANE_PROXY: { message: 'the proxy did not connect this node' },
  ERR_STARLANE_PROXY_AUTH: { message: 'the proxy does not accept the credentials of this node' },
  ERR_STARLANE_TLS: { message: 'tls between the two nodes failed' },
  ERR_STARLANE_SECRET: { message: 'the network secrets of the two nodes differ' },
  ERR_STARLANE_WEAK_SECRET: { message: 'the network secret is short enough to be guessed' },
  ERR_STARLANE_IDENTITY: { message: 'the identity of a node is not proved' },
  ERR_STARLANE_SELF_LINK: { message: 'the link leads back to this node' },
  ERR_STARLANE_DUPLICATE_LINK: { message: 'there is a link to this peer already' },
  ERR_STARLANE_LINK_LIMIT: { message: 'too many links or pending handshakes' },
  ERR_STARLANE_LINK_LOST: { message: 'the link was lost' },
  ERR_STARLANE_KEEPALIVE: { message: 'the peer was silent for too long' },
  ERR_STARLANE_SERVICE_LIMIT: { message: 'the peer announces too many services' },
  ERR_STARLANE_LINK_SHED: { message: 'the peer has too many links, and this node has others' },

  // Members: certificates, tokens and the authority.
  ERR_STARLANE_CERTIFICATE: { message: 'a node has no valid certificate of the network' },
  ERR_STARLANE_CERTIFICATE_EXPIRED: { message: 'the certificate of a node has expired' },
  ERR_STARLANE_REVOKED: { message: 'the membership of a node was revoked' },
  ERR_STARLANE_RIGHT: { message: 'the certificate of a node does not give it the right' },
  ERR_STARLANE_CREDENTIALS: { message: 'the folder of credentials cannot be used' },
  ERR_STARLANE_AUTHORITY: { message: 'the key of the authority cannot be used' },
  ERR_STARLANE_TOKEN: { message: 'the token is not valid' },
  ERR_STARLANE_TOKEN_USED: { message: 'the token has been used' },
  ERR_STARLANE_TOKEN_EXPIRED: { message: 'the token has expired' },
  ERR_STARLANE_MEMBER_NAME: { message: 'the token is for a member of another name' },
  ERR_STARLANE_WRONG_NETWORK: { message: 'the token is for another network' },
  ERR_STARLANE_CLOCK: { message: 'the clocks of two machines differ too much' },
  ERR_STARLANE_ENROLMENT: { message: 'no certificate was issued' },

  // The mesh: records, gossip and relays.
  ERR_STARLANE_RECORD: { message: 'a peer sent an invalid record' },
  ERR_STARLANE_GOSSIP_FLOOD: { message: 'a peer sends too many records' },
  ERR_STARLANE_DUPLICATE_IDENTITY: { message: 'two processes have one identity' },
  ERR_STARLANE_NOT_FOUND: { message: 'no instance of the service can be dialled from here' },
  ERR_STARLANE_BREAKER_OPEN: { message: 'the circuit breaker of the service is open' },
  ERR_STARLANE_RELAY_LIMIT: { message: 'a relay has no room for the circuit' },
  ERR_STARLANE_SECURE: { message: 'the end-to-end encryption of the circuit failed' },

  ERR_STARLANE_QUERY: { message: 'the node did not answer the query' },

  // Messages, commands and topics.
  ERR_STARLANE_NOT_HANDLED: { message: 'the message certainly reached no handler' },
  ERR_STARLANE_OUTCOME_UNKNOWN: { message: 'whether a handler ran is not known' },
  ERR_STARLANE_HANDLER_FAILED: { message: 'the handler ran, and failed' },
  ERR_STARLANE_ANSWER_LOST: { message: 'the handler has finished, and its answer did not arrive' },
  ERR_STARLANE_NO_HANDLER: { message: 'the receiver has no handler for this command, or the topic no subscriber' },
  ERR_STARLANE_QUEUE_FULL: { message: 'too much waits to be sent or handled' },
  ERR_STARLANE_MESSAGE_SIZE: { message: 'the message is longer than the receiver accepts' },
  ERR_STARLANE_MESSAGE_PROTOCOL: { message: 'the other end does not speak the protocol of messages, or broke it' },
  ERR_STARLANE_SCHEMA: { message: 'the input or output of a command does not fit its schema' },
  ERR_STARLANE_API: { message: 'the definition of the API is invalid, or does not fit that of the other end' },
  ERR_STARLANE_SLOW_SUBSCRIBER: { message: 'a subscriber is slower than its messages, and some were dropped' },

  // Hosts: bundles, deployments and jobs.
  ERR_STARLANE_BUNDLE: { message: 'the bundle is malformed, or holds what it must not' },
  ERR_STARLANE_BUNDLE_SIGNATURE: {
    message: 'the signature of the bundle is not valid, or not of a key that the host accepts',
  },
  ERR_STARLANE_BUNDLE_OLD: { message: 'the bundle is older than one that the host has taken before' },
  ERR_STARLANE_DEPLOY: { message: 'the deployment failed' },
  ERR_STARLANE_JOB: { message: 'the job failed, or the host does not have it' },
  ERR_STARLANE_JOB_LOST: { message: 'the host ended while the job ran' },
  ERR_STARLANE_JOB_UNKNOWN: {
    message: 'the host of the job is gone, and the state of the job unknown until it returns',
  },

  // Sessions and streams.
  ERR_STARLANE_PROTOCOL: { message: 'the peer broke the session protocol' },
  ERR_STARLANE_MESSAGE: { message: 'malformed message' },
  ERR_STARLANE_WINDOW_OVERRUN: { message: 'the peer sent more than its window allows' },
  ERR_STARLANE_RECEIVE_BUDGET: { message: 'the peer filled the receive budget of the session' },
  ERR_STARLANE_CONTROL_FLOOD: { message: 'the peer sends control frames faster than they can be answered' },
  ERR_STARLANE_GO_AWAY: { message: 'the peer accepts no more streams on this link' },
  ERR_STARLANE_STREAMS_EXHAUSTED: { message: 'no stream ids are left on this link' },
  ERR_STARLANE_STREAM_LIMIT: { message: 'too many streams on this link' },
  ERR_STARLANE_STREAM_RESET: { message: 'the peer reset the stream' },
  ERR_STARLANE_OPEN_TIMEOUT: { message: 'the peer did not acknowledge the stream in time' },
  ERR_STARLANE_CLOSE_TIMEOUT: { message: 'the peer did not close the stream in time' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** Codes of configuration and protocol faults. */
export type StarlaneErrorCode = Extract<ErrorCode, `ERR_STARLANE_${string}`>;

/** Codes that sockets and servers share with node:net. */
export type NetErrorCode = Exclude<ErrorCode, StarlaneErrorCode>;

/** A configuration or protocol fault. Test `code`, not the message. */
export class StarlaneError extends Error {
  override readonly name = 'StarlaneError';

  constructor(
    readonly code: StarlaneErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Of ERR_STARLANE_BREAKER_OPEN: in how many ms the next dial is let through. */
  declare readonly retryAfterMs?: number;
}

/** An error of a socket or server, with the properties of Node's own. */
export interface NetError extends NodeJS.ErrnoException {
  code: NetErrorCode;
  syscall: string;
  /** Service, `@nodeId`, or empty for a bare port. */
  address?: string;
  port?: number;
}

/** An error with a code: one of {@link ERRORS}, or one of Node, as for a connect that fails. */
export interface CodedError extends Error {
  code: ErrorCode | (string & Record<never, never>);
}

/** Returns the code of an error; undefined where it has none, or is no error. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * Returns the error itself if it has a code, as all errors from here have; otherwise an error with the code ERR_STARLANE_TRANSPORT around
 * it.
 */
export function coded(error: Error): CodedError {
  const { code } = error as Partial<CodedError>;
  if (typeof code === 'string') return error as CodedError;
  return starlaneError('ERR_STARLANE_TRANSPORT', error.message, error);
}

/** Returns the error for `code`. `detail` is appended to the text of the table. */
export function starlaneError(code: StarlaneErrorCode, detail?: string, cause?: unknown): StarlaneError {
  const { message } = ERRORS[code];
  return new StarlaneError(
    code,
    detail === undefined ? message : `${message}: ${detail}`,
    cause === undefined ? undefined : { cause },
  );
}

/** Returns ERR_STARLANE_OPTION for the option of that name. */
export function optionError(name: string, reason: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_OPTION', `${name}: ${reason}`, cause);
}

/**
 * Returns an error as Node makes it: `connect ECONNREFUSED echo:80`, `read ECONNRESET`,
 * `listen EADDRINUSE: address already in use echo:80`.
 */
export function netError(
  code: NetErrorCode,
  syscall: string,
  where?: { address?: string; port?: number },
  cause?: unknown,
): NetError {
  const { errno, text } = systemError(code);
  const address = where?.address;
  const port = where?.port;
  let message = `${syscall} ${code}`;
  // Node words the failures of binding differently from all others (uvExceptionWithHostPort in its lib/internal/errors.js).
  if ((syscall === 'listen' || syscall === 'bind') && text !== undefined) message += `: ${text}`;
  if (port) message += ` ${address ?? ''}:${port}`;
  else if (address) message += ` ${address}`;

  const error = new Error(message, cause === undefined ? undefined : { cause }) as NetError;
  if (errno !== undefined) error.errno = errno;
  error.code = code;
  error.syscall = syscall;
  if (address !== undefined) error.address = address;
  if (port) error.port = port;
  return error;
}

/**
 * Returns the error of a socket whose stream was reset. Only its cause has a stack trace: all traces would begin at the same read of the
 * link, and a lost link may reset a hundred thousand sockets.
 */
export function resetByPeer(cause: Error): NetError {
  const { stackTraceLimit } = Error;
  // Not by an assignment, which throws where intrinsics are frozen.
  Reflect.set(Error, 'stackTraceLimit', 0);
  const error = netError('ECONNRESET', 'read', undefined, cause);
  Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  return error;
}

/** Returns the error of Node for a name that was not found, by `getaddrinfo` or a DNS query such as `queryA`. */
export function lookupError(hostname: string, syscall = 'getaddrinfo', cause?: unknown): NodeJS.ErrnoException {
  const error = netError('ENOTFOUND', syscall, undefined, cause);
  error.message += ` ${hostname}`;
  return Object.assign(error, { hostname });
}

interface SystemError {
  errno?: number;
  text?: string;
}

let systemErrors: Map<string, SystemError> | undefined;

/** Returns the negative errno and the text of this platform. They are read once, as Node builds the map at every call. */
function systemError(code: NetErrorCode): SystemError {
  if (systemErrors === undefined) {
    systemErrors = new Map();
    for (const [errno, [name, text]] of nodeUtil().getSystemErrorMap()) systemErrors.set(name, { errno, text });
  }
  // Node reports an unknown name as ENOTFOUND with libuv's number for EAI_NONAME.
  return systemErrors.get(code === 'ENOTFOUND' ? 'EAI_NONAME' : code) ?? {};
}
