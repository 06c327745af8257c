// The grammar of topics and patterns, and a matcher that is compared with a regular expression.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  checkPattern,
  checkTopic,
  fits,
  isPattern,
  isTopic,
  MAX_TOPIC_BYTES,
  wildcardRank,
} from '../../../../lib/messages/topics/codec/pattern.js';
import { PatternTrie } from '../../../../lib/messages/topics/publisher/pattern-trie.js';

const token = fc.constantFrom('a', 'b', 'c', 'order-1', 'é');
const topic = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join('.'));
const pattern = fc
  .tuple(fc.array(fc.oneof(token, fc.constant('*')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([tokens, hasRest]) => [...tokens, ...(hasRest ? ['>'] : [])].join('.'));

/** What docs/topics.md says, as a regular expression. */
function naive(wanted: string, text: string): boolean {
  const source = wanted
    .split('.')
    .map((part) => (part === '*' ? '[^.]+' : part === '>' ? '.+' : part))
    .join('\\.');
  return new RegExp(`^${source}$`, 'u').test(text);
}

describe('topics and patterns', () => {
  it.each(['a', 'a.b', 'orders.new.7', 'a_b-c', 'é.ü', 'a*.b', 'a>.b', '1'])('%s is a topic', (text) => {
    expect(isTopic(text)).toBe(true);
    expect(isPattern(text)).toBe(true);
  });

  it.each(['*', '>', 'a.*', 'a.>', '*.*', '*.a.>'])('%s is a pattern and no topic', (text) => {
    expect(isPattern(text)).toBe(true);
    expect(isTopic(text)).toBe(false);
  });

  it.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a:b', 'a\n', '>.a', 'a.>.b', '@a'])('%j is neither', (text) => {
    expect(isPattern(text)).toBe(false);
    expect(isTopic(text)).toBe(false);
    expect(() => checkTopic(text)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    expect(() => checkPattern(text)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
  });

  it('have a longest length, in bytes', () => {
    expect(isTopic('a'.repeat(MAX_TOPIC_BYTES))).toBe(true);
    expect(isTopic('a'.repeat(MAX_TOPIC_BYTES + 1))).toBe(false);
    expect(isTopic('é'.repeat(MAX_TOPIC_BYTES >> 1))).toBe(true);
    expect(isTopic('é'.repeat(MAX_TOPIC_BYTES))).toBe(false);
    expect(isTopic(undefined)).toBe(false);
  });

  it('fit each other as the grammar says', () => {
    fc.assert(fc.property(pattern, topic, (wanted, text) => expect(fits(wanted, text)).toBe(naive(wanted, text))));
  });

  it('are ranked by what they leave open', () => {
    const sorted = ['a.>', 'a.*', 'a.b', '*.*', '>'].sort((one, other) => wildcardRank(one) - wildcardRank(other));
    expect(sorted.slice(0, 3)).toEqual(['a.b', 'a.*', '*.*']);
  });
});

describe('a trie of patterns', () => {
  it('finds the patterns that fit, after any additions and removals', () => {
    const change = fc.record({ pattern, isAdded: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.array(topic, { maxLength: 10 }), (changes, topics) => {
        const trie = new PatternTrie<string>();
        const known = new Set<string>();
        for (const { pattern: wanted, isAdded } of changes) {
          if (isAdded) known.add(wanted);
          else known.delete(wanted);
          if (isAdded) trie.add(wanted, wanted);
          else trie.delete(wanted, wanted);
        }
        expect(trie.size).toBe(known.size);
        for (const text of topics) {
          expect(trie.match(text).sort()).toEqual([...known].filter((wanted) => fits(wanted, text)).sort());
        }
      }),
    );
  });

  it('keeps nothing of what was removed', () => {
    const trie = new PatternTrie<number>();
    for (let index = 0; index < 10_000; index++) trie.add(`a.${index}.*.>`, index);
    expect(trie.match('a.77.x.y')).toEqual([77]);
    for (let index = 0; index < 10_000; index++) trie.delete(`a.${index}.*.>`, index);
    expect(trie.size).toBe(0);
    expect(trie).toEqual(new PatternTrie());
  });
});
