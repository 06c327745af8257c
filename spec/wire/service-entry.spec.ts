import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FieldReader } from '../../lib/wire/fields.js';
import { decodeServiceEntry, encodeServiceEntry, type ServiceEntry } from '../../lib/wire/service-entry.js';
import { serviceEntry } from '../support/record-arbitraries.js';
import { thrownCode } from '../support/thrown.js';

function decode(bytes: Uint8Array): ServiceEntry {
  return decodeServiceEntry(new FieldReader(bytes));
}

describe('an entry of a service', () => {
  it('is on the wire what the protocol says', () => {
    const bytes = encodeServiceEntry({ service: 'a', port: 80, weight: 1, meta: {} });
    expect(bytes.toString('hex')).toBe('0161' + '00000050' + '01' + '00027b7d');
    expect(encodeServiceEntry({ service: 'a', port: 0, weight: 2 }).toString('hex')).toBe(
      '0161' + '00000000' + '020000',
    );
  });

  it('is read as it was written', () => {
    fc.assert(
      fc.property(serviceEntry, (entry) => {
        expect(decode(encodeServiceEntry(entry))).toEqual(entry);
      }),
    );
  });

  it('keeps names such as __proto__ as plain data', () => {
    const meta = JSON.parse('{"__proto__":{"bad":1}}');
    const entry = decode(encodeServiceEntry({ service: '__proto__', port: 1, weight: 1, meta }));
    expect(entry.service).toBe('__proto__');
    expect(({} as { bad?: number }).bad).toBeUndefined();
    expect(Object.keys(entry.meta as object)).toEqual(['__proto__']);
  });

  it('is refused by its encoder when a field does not fit', () => {
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const entry = { service: 'a', port: 1, weight: 1 };
    const bad: ServiceEntry[] = [
      { ...entry, service: '' },
      { ...entry, service: 'a:80' },
      { ...entry, port: 2 ** 32 },
      { ...entry, port: 0.5 },
      { ...entry, weight: 256 },
      { ...entry, meta: 'x'.repeat(4_095) },
      { ...entry, meta: circular },
      { ...entry, meta: 5n },
      { ...entry, meta: () => {} },
    ];
    for (const one of bad) expect(thrownCode(() => encodeServiceEntry(one))).toBe('ERR_STARLANE_MESSAGE');
    expect(encodeServiceEntry({ ...entry, meta: 'x'.repeat(4_094) })).toHaveLength(2 + 4 + 1 + 2 + 4_096);
  });

  it.each([
    ['without a name', '00000000500100007b7d'],
    ['with a name that is longer than what is there', 'ff616161'],
    ['with a name that is not UTF-8', '01ff00000000010000'],
    ['with an overlong encoding', '02c18100000000010000'],
    ['with a control character', '010a00000000010000'],
    ['without a port', '0161'],
    ['with a meta that ends early', '0161000000500100037b7d'],
    ['with a meta that is not JSON', '0161000000500100017b'],
    ['with a meta that is too long', `016100000050011001${'31'.repeat(4_097)}`],
  ])('is refused %s', (_what, hex) => {
    expect(thrownCode(() => decode(Buffer.from(hex, 'hex')))).toBe('ERR_STARLANE_MESSAGE');
  });
});
