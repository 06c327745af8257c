// What a dial may ask for besides the service.

export interface DialWishes {
  /** The virtual port of the near end. Default a free one. */
  readonly localPort?: number | undefined;
  /** Asks for a direct link where there is none. Default false. */
  readonly wantsLink?: boolean | undefined;
  /** Encrypted from end to end. Default: through relays, if that is the default of the node. */
  readonly secure?: boolean | undefined;
}
