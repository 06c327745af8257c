// Errors about arguments and states as Node makes them: with the same classes, codes and texts, for programs that test them (Node's
// documentation, "Errors").

import { nodeUtil } from './builtins.js';

type NodeErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_INVALID_IP_ADDRESS'
  | 'ERR_MISSING_ARGS'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_SERVER_ALREADY_LISTEN'
  | 'ERR_SERVER_NOT_RUNNING'
  | 'ERR_SOCKET_BAD_PORT'
  | 'ERR_SOCKET_CLOSED'
  | 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION'
  | 'ERR_STREAM_DESTROYED'
  | 'EPIPE';

type ErrorClass = new (message: string) => Error;

function make(Class: ErrorClass, code: NodeErrorCode, message: string): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Class(message);
  error.code = code;
  return error;
}

/** `name` as in `options.port`; `expected` as in `of type number` or `one of type number or string`. */
export function invalidArgType(name: string, expected: string, value: unknown): Error {
  return make(TypeError, 'ERR_INVALID_ARG_TYPE', `${quoted(name)} must be ${expected}. Received ${received(value)}`);
}

/** `reason` as in `must have the property "port" or "path"`. */
export function invalidArgValue(name: string, value: unknown, reason = 'is invalid'): Error {
  const kind = name.includes('.') ? 'property' : 'argument';
  return make(
    TypeError,
    'ERR_INVALID_ARG_VALUE',
    `The ${kind} '${name}' ${reason}. Received ${nodeUtil().inspect(value).slice(0, 128)}`,
  );
}

export function invalidAddress(address: string): Error {
  return make(TypeError, 'ERR_INVALID_IP_ADDRESS', `Invalid IP address: ${address}`);
}

export function missingArgs(...names: string[]): Error {
  const list = names.map((name) => `"${name}"`).join(' or ');
  return make(TypeError, 'ERR_MISSING_ARGS', `The ${list} argument must be specified`);
}

/** `expected` as in `a non-negative finite number`. */
export function outOfRange(name: string, expected: string, value: unknown): Error {
  return make(
    RangeError,
    'ERR_OUT_OF_RANGE',
    `The value of "${name}" is out of range. It must be ${expected}. Received ${nodeUtil().inspect(value)}`,
  );
}

/** `end`: the first number that is no port any more. */
export function badPort(name: string, end: number, value: unknown): Error {
  return make(RangeError, 'ERR_SOCKET_BAD_PORT', `${name} should be >= 0 and < ${end}. Received ${received(value)}.`);
}

export function alreadyListening(): Error {
  return make(Error, 'ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called more than once without closing.');
}

export function notRunning(): Error {
  return make(Error, 'ERR_SERVER_NOT_RUNNING', 'Server is not running.');
}

export function socketClosed(): Error {
  return make(Error, 'ERR_SOCKET_CLOSED', 'Socket is closed');
}

export function closedBeforeConnection(): Error {
  return make(Error, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'Socket closed before the connection was established');
}

/** What Node reports for a write that the destruction of the stream cut off. */
export function streamDestroyed(): Error {
  return make(Error, 'ERR_STREAM_DESTROYED', 'Cannot call write after a stream was destroyed');
}

/** For a write after the other end has ended, on a socket that is not half-open. */
export function endedByOther(): Error {
  return make(Error, 'EPIPE', 'This socket has been ended by the other party');
}

function quoted(name: string): string {
  return name.includes('.') ? `The "${name}" property` : `The "${name}" argument`;
}

/** The end of such messages: `undefined`, `type number (5)`, `an instance of Foo`. */
function received(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    return name ? `an instance of ${name}` : nodeUtil().inspect(value, { depth: -1 });
  }
  const text = nodeUtil().inspect(value);
  return `type ${typeof value} (${text.length > 28 ? `${text.slice(0, 25)}...` : text})`;
}
