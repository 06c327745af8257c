import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeToken, encodeToken, type Token } from '../../lib/wire/token.js';
import { bytesOf, damaged, nodeId } from '../support/arbitraries.js';
import { thrownCode } from '../support/thrown.js';

const HOSTS = ['127.0.0.1', 'seed.example.com', '[2001:db8::1]', 'größe.example', 'x'.repeat(200)];
const address = fc
  .tuple(fc.constantFrom(...HOSTS), fc.integer({ min: 1, max: 65_535 }))
  .map(([host, port]) => `tls://${host}:${port}`);

const token: fc.Arbitrary<Token> = fc.record({
  expiresAtMs: fc.integer({ min: 0, max: 0xffff_ffff }).map((seconds) => seconds * 1_000),
  networkId: bytesOf(16).map((bytes) => Buffer.from(bytes).toString('base64url')),
  issuer: nodeId,
  code: bytesOf(16).map((bytes) => Buffer.from(bytes)),
  addresses: fc.array(address, { minLength: 1, maxLength: 8 }),
});

const EXAMPLE: Token = {
  expiresAtMs: 1_800_000_000_000,
  networkId: Buffer.alloc(16, 1).toString('base64url'),
  issuer: 'AAECAwQFBgc',
  code: Buffer.alloc(16, 0xab),
  addresses: ['tls://127.0.0.1:7000'],
};

function messageOf(text: string): string {
  try {
    decodeToken(text);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was read');
}

describe('A token', () => {
  it('has the text of the protocol', () => {
    expect(encodeToken(EXAMPLE)).toBe(
      'starlane1.AWtJ0gABAQEBAQEBAQEBAQEBAQEBAAECAwQFBgerq6urq6urq6urq6urq6urAQ4xMjcuMC4wLjE6NzAwMN-qgiQ',
    );
    expect(decodeToken(encodeToken(EXAMPLE))).toEqual(EXAMPLE);
  });

  it('says the same after the way, and has one form', () => {
    fc.assert(
      fc.property(token, (made) => {
        const text = encodeToken(made);
        const read = decodeToken(text);
        expect({ ...read, code: [...read.code] }).toEqual({ ...made, code: [...made.code] });
        expect(encodeToken(read)).toBe(text);
      }),
    );
  });

  it('may be wrapped by a terminal, and have spaces around it', () => {
    const text = encodeToken(EXAMPLE);
    expect(decodeToken(`  ${text.slice(0, 40)}\r\n ${text.slice(40)}\n`)).toEqual(EXAMPLE);
  });

  it.each([
    ['', 'it is empty'],
    ['   \n', 'it is empty'],
    ['hello', 'it does not begin with starlane1.'],
    ['starlane2.AAAA', 'it was made by a later version of Starlane; update this one'],
    ['starlane1.', 'it was cut off or mistyped; copy all of it again'],
    [encodeToken(EXAMPLE).slice(0, -1), 'it was cut off or mistyped; copy all of it again'],
    [encodeToken(EXAMPLE).slice(0, 60), 'it was cut off or mistyped; copy all of it again'],
    [`${encodeToken(EXAMPLE)}x`, 'it was cut off or mistyped; copy all of it again'],
    [encodeToken(EXAMPLE).replace('q6u', 'q7u'), 'it was cut off or mistyped; copy all of it again'],
    [`${encodeToken(EXAMPLE)}"`, 'it has characters that no token has; copy it again'],
    [`starlane1.${'A'.repeat(5_000)}`, 'it is longer than any token'],
  ])('that is %j says what is wrong with it', (text, reason) => {
    expect(messageOf(text)).toBe(`the token is not valid: ${reason}`);
  });

  it('is refused with its code, whatever it is', () => {
    const text = fc.oneof(
      damaged(token.map((made) => Buffer.from(encodeToken(made)))).map(String),
      fc.string(),
      fc.uint8Array().map((bytes) => `starlane1.${Buffer.from(bytes).toString('base64url')}`),
    );
    fc.assert(
      fc.property(text, (any) => {
        expect([undefined, 'ERR_STARLANE_TOKEN']).toContain(thrownCode(() => decodeToken(any)));
      }),
    );
    expect(thrownCode(() => decodeToken(undefined as unknown as string))).toBe('ERR_STARLANE_TOKEN');
  });

  it('needs addresses of tls that lead somewhere', () => {
    const withAddresses = (...addresses: string[]) => thrownCode(() => encodeToken({ ...EXAMPLE, addresses }));
    expect(withAddresses()).toBe('ERR_STARLANE_ADDRESS');
    expect(withAddresses('tcp://127.0.0.1:1')).toBe('ERR_STARLANE_ADDRESS');
    expect(withAddresses('tls://:7000')).toBe('ERR_STARLANE_ADDRESS');
    expect(withAddresses('tls://host:0')).toBe('ERR_STARLANE_ADDRESS');
    expect(withAddresses(...Array.from({ length: 9 }, (_, index) => `tls://host:${index + 1}`))).toBe(
      'ERR_STARLANE_ADDRESS',
    );
    expect(withAddresses('host:7000')).toBeUndefined();
  });

  it('does not show its code when it is printed', () => {
    const read = decodeToken(encodeToken(EXAMPLE));
    const texts = [inspect(read, { depth: 9 }), JSON.stringify(read), inspect({ deep: { read } })];
    for (const text of texts) {
      expect(text).toContain('code');
      expect(text).not.toMatch(/abab|ab ab|171|q6ur/);
    }
  });
});
