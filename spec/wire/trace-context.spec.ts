import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeTraceContext, encodeTraceContext, MAX_TRACE_CONTEXT_BYTES } from '../../lib/wire/trace-context.js';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const HEX = '0af7651916cd43dd8448eb211c80319cb7ad6b716920333101';

/** The tracestate that arrives. */
function passed(tracestate: string, maxBytes = MAX_TRACE_CONTEXT_BYTES): string | undefined {
  const bytes = encodeTraceContext({ traceparent: TRACEPARENT, tracestate }, maxBytes);
  return bytes === undefined ? undefined : decodeTraceContext(bytes)?.tracestate;
}

describe('a trace context', () => {
  it('has the bytes of the protocol', () => {
    const bytes = encodeTraceContext({ traceparent: TRACEPARENT, tracestate: 'a=1' }, MAX_TRACE_CONTEXT_BYTES);
    expect(bytes?.toString('hex')).toBe(`${HEX}613d31`);
    expect(decodeTraceContext(Buffer.from(HEX, 'hex'))).toEqual({ traceparent: TRACEPARENT, tracestate: '' });
  });

  it('of a later version of the standard is read as one of version 00', () => {
    const context = { traceparent: `cc${TRACEPARENT.slice(2)}-what-comes-later`, tracestate: '' };
    const bytes = encodeTraceContext(context, MAX_TRACE_CONTEXT_BYTES);
    expect(bytes?.toString('hex')).toBe(HEX);
  });

  it.each([
    ['', 'no traceparent'],
    [`ff${TRACEPARENT.slice(2)}`, 'a version that there is not'],
    [TRACEPARENT.toUpperCase(), 'capital letters'],
    [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, 'no trace id'],
    [`00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`, 'no parent id'],
    [TRACEPARENT.slice(0, -1), 'a digit too few'],
  ])('is not sent with %j: %s', (traceparent) => {
    expect(encodeTraceContext({ traceparent, tracestate: '' }, MAX_TRACE_CONTEXT_BYTES)).toBeUndefined();
  });

  it('is ignored by the reader when it is none', () => {
    for (const hex of [
      '',
      '00',
      HEX.slice(2),
      `${'00'.repeat(16)}b7ad6b716920333101`,
      `${HEX.slice(0, 32)}${'00'.repeat(9)}`,
    ]) {
      expect(decodeTraceContext(Buffer.from(hex, 'hex'))).toBeUndefined();
    }
    expect(decodeTraceContext(Buffer.alloc(MAX_TRACE_CONTEXT_BYTES + 1, 1))).toBeUndefined();
    expect(decodeTraceContext(Buffer.from(`${HEX}0a`, 'hex'))).toEqual({ traceparent: TRACEPARENT, tracestate: '' });
  });

  it('loses whole members of a tracestate that is too long: long ones first, then those at the end', () => {
    const long = `long=${'x'.repeat(150)}`;
    expect(passed(`a=1,${long},b=2`)).toBe(`a=1,${long},b=2`);
    expect(passed(`a=1,${long},b=2`, 25 + 20)).toBe('a=1,b=2');
    expect(passed('a=1,b=2,c=3', 25 + 7)).toBe('a=1,b=2');
    expect(passed('a=1,b=2,c=3', 25 + 6)).toBe('a=1');
    expect(passed('a=1,b=2', 25)).toBe('');
    expect(passed('a=1', 24)).toBeUndefined();
    expect(passed(`a=1,${new Array(8).fill(`m=${'y'.repeat(98)}`).join(',')}`)).toHaveLength(3 + 5 * 101);
  });

  it('is never longer than it may be, and its tracestate is a part of what was given', () => {
    const member = fc.stringMatching(/^[a-z]{1,9}=[!-+\--<>-~]{0,200}$/);
    fc.assert(
      fc.property(fc.array(member), fc.integer({ min: 25, max: 600 }), (members, maxBytes) => {
        const bytes = encodeTraceContext({ traceparent: TRACEPARENT, tracestate: members.join(',') }, maxBytes);
        expect(bytes?.length).toBeLessThanOrEqual(Math.min(maxBytes, MAX_TRACE_CONTEXT_BYTES));
        const left = decodeTraceContext(bytes ?? Buffer.alloc(0))?.tracestate ?? '';
        const kept = left === '' ? [] : left.split(',');
        let at = -1;
        for (const one of kept) {
          at = members.indexOf(one, at + 1);
          expect(at).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});
