// The grammar of topics and patterns: tokens separated by dots; in patterns `*` for one token and `>` for the rest. docs/topics.md has it.

import { isServiceName } from '../../../address.js';
import { starlaneError } from '../../../errors.js';

/** A subscription is announced as the service of that name: this and its pattern. */
export const SERVICE_PREFIX = 'topic/';

/** The longest topic or pattern, in bytes of UTF-8. */
export const MAX_TOPIC_BYTES = 255 - SERVICE_PREFIX.length;

const PLAIN = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

/** Returns whether this is a topic: one to which something can be published. */
export function isTopic(text: unknown): text is string {
  if (typeof text !== 'string' || text.length > MAX_TOPIC_BYTES) return false;
  return PLAIN.test(text) || (isPattern(text) && !hasWildcards(text));
}

/** Returns whether this is a pattern. Every topic is one. */
export function isPattern(text: unknown): text is string {
  if (typeof text !== 'string' || text.length > MAX_TOPIC_BYTES) return false;
  if (PLAIN.test(text)) return true;
  if (!isServiceName(text) || Buffer.byteLength(text) > MAX_TOPIC_BYTES) return false;
  const tokens = text.split('.');
  return tokens.every((token, index) => token !== '' && (token !== '>' || index === tokens.length - 1));
}

/** Returns whether a pattern has `*` or `>` as a token. */
export function hasWildcards(pattern: string): boolean {
  return wildcardRank(pattern) > 0;
}

/** Returns a number that grows with what a pattern leaves open: 0 without wildcards, then each `*`, then `>`. */
export function wildcardRank(pattern: string): number {
  if (!pattern.includes('*') && !pattern.includes('>')) return 0;
  let rank = 0;
  for (const token of pattern.split('.')) {
    if (token === '*') rank++;
    else if (token === '>') rank += 256;
  }
  return rank;
}

/** Returns whether a topic fits a pattern. */
export function fits(pattern: string, topic: string): boolean {
  const wanted = pattern.split('.');
  const tokens = topic.split('.');
  for (let index = 0; index < wanted.length; index++) {
    if (wanted[index] === '>') return tokens.length > index;
    if (index >= tokens.length) return false;
    if (wanted[index] !== '*' && wanted[index] !== tokens[index]) return false;
  }
  return tokens.length === wanted.length;
}

/** @throws ERR_STARLANE_ARGUMENT */
export function checkTopic(topic: unknown): void {
  if (!isTopic(topic))
    throw starlaneError(
      'ERR_STARLANE_ARGUMENT',
      `${shownText(topic)} is no topic: tokens with dots between, and neither * nor > alone`,
    );
}

/** @throws ERR_STARLANE_ARGUMENT */
export function checkPattern(pattern: unknown): void {
  if (!isPattern(pattern))
    throw starlaneError(
      'ERR_STARLANE_ARGUMENT',
      `${shownText(pattern)} is no pattern of topics: tokens or * with dots between, and > at the end only`,
    );
}

function shownText(text: unknown): string {
  return typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : `a value of type ${typeof text}`;
}
