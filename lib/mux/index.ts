// `starlane/mux`: plain yamux over any Duplex, for peers of every kind (hashicorp/yamux, libp2p).

/// <reference types="node" preserve="true" />

export { StarlaneError, type StarlaneErrorCode } from '../errors.js';
export { GoAwayCode } from '../wire/header.js';
export { Session, type SessionEvents, type SessionOptions, Stream } from './public-session.js';
