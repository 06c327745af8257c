import { describe, expect, it } from '@jest/globals';
import { PeerBook } from '../../../lib/mesh/neighbours/peer-book.js';

const A = ['tcp://a.test:1'];

describe('the peer book', () => {
  it('holds announced nodes, with their latest addresses', () => {
    const book = new PeerBook();
    book.onAnnounced('a', A);
    book.onAnnounced('a', ['tcp://a.test:2']);
    expect([...book.entries()]).toEqual([
      { nodeId: 'a', addresses: ['tcp://a.test:2'], lastSuccessMs: undefined, failures: 0 },
    ]);
  });

  it('holds no nodes without addresses', () => {
    const book = new PeerBook();
    book.onAnnounced('a', []);
    book.onMet('b', [], 1);
    expect(book.size).toBe(0);
  });

  it('counts failures until there is a link again', () => {
    const book = new PeerBook();
    book.onAnnounced('a', A);
    book.onFailed('a');
    book.onFailed('a');
    book.onFailed('unknown');
    expect(book.get('a')).toMatchObject({ failures: 2, lastSuccessMs: undefined });
    book.onAnnounced('a', A);
    expect(book.get('a')).toMatchObject({ failures: 2 });
    book.onMet('a', A, 77);
    expect(book.get('a')).toMatchObject({ failures: 0, lastSuccessMs: 77 });
    book.onAnnounced('a', A);
    expect(book.get('a')).toMatchObject({ lastSuccessMs: 77 });
  });

  it('keeps the address by which a node was reached, and eight in all', () => {
    const book = new PeerBook();
    book.onAnnounced('a', ['tcp://a.test:1', 'tcp://a.test:2']);
    book.onMet('a', ['tcp://10.0.0.1:1', 'tcp://a.test:1'], 1);
    expect(book.get('a')?.addresses).toEqual(['tcp://10.0.0.1:1', 'tcp://a.test:1', 'tcp://a.test:2']);
    book.onMet(
      'a',
      Array.from({ length: 20 }, (_, number) => `tcp://x.test:${number}`),
      2,
    );
    expect(book.get('a')?.addresses.length).toBe(8);
  });

  it('holds a thousand: linked nodes outlast announced ones, and recent ones the others', () => {
    const book = new PeerBook();
    for (let number = 0; number < 600; number++) book.onMet(`met-${number}`, A, number);
    for (let number = 0; number < 5_000; number++) book.onAnnounced(`heard-${number}`, A);
    expect([book.size, book.get('met-0') !== undefined]).toEqual([1_000, true]);
    expect([book.get('heard-4999') !== undefined, book.get('heard-0')]).toEqual([true, undefined]);
    book.onMet('met-0', A, 9_000);
    for (let number = 600; number < 1_700; number++) book.onMet(`met-${number}`, A, number);
    expect([book.size, book.get('met-0'), book.get('met-1699') !== undefined]).toEqual([1_000, undefined, true]);
    expect(book.get('heard-4999')).toBeUndefined();
  });
});
