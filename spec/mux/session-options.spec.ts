import { describe, expect, it } from '@jest/globals';
import { DEFAULT_SESSION_OPTIONS, resolveSessionOptions, type SessionOptions } from '../../lib/mux/session-options.js';
import { thrownCode } from '../support/thrown.js';

function codeFor(options: Record<string, unknown>): string | undefined {
  return thrownCode(() => resolveSessionOptions({ client: true, ...options } as unknown as SessionOptions));
}

describe('Session options', () => {
  it('have the defaults that foreign peers expect', () => {
    const options = resolveSessionOptions({ client: false });
    expect(options).toEqual({ ...DEFAULT_SESSION_OPTIONS, client: false });
    expect(options).toMatchObject({ acceptBacklog: 256, maxUnackedOpens: 256, starlanePeer: false, firstStreamId: 1 });
    expect(options.maxWindowBytes).toBe(16 * 1024 * 1024);
    expect(options.keepAliveMs).toBeLessThan(options.keepAliveTimeoutMs);
  });

  it('keep the default where the value is undefined', () => {
    expect(resolveSessionOptions({ client: true, acceptBacklog: undefined }).acceptBacklog).toBe(256);
  });

  it('accept the ends of their ranges', () => {
    expect(codeFor({ acceptBacklog: 1, maxUnackedOpens: Number.POSITIVE_INFINITY, maxWindowBytes: 256 * 1024 })).toBe(
      undefined,
    );
    expect(codeFor({ keepAliveMs: 0, openTimeoutMs: 0, firstStreamId: 0xffff_ffff })).toBe(undefined);
  });

  const bad: Array<Record<string, unknown>> = [
    { client: 'yes' },
    { client: undefined },
    { acceptBacklog: 0 },
    { acceptBacklog: 1_000_001 },
    { acceptBacklog: '256' },
    { acceptBacklog: null },
    { maxUnackedOpens: 0 },
    { maxStreams: Number.NaN },
    { maxWindowBytes: 256 * 1024 - 1 },
    { receiveBudgetBytes: 0 },
    { keepAliveMs: -1 },
    { keepAliveMs: 30_000, keepAliveTimeoutMs: 30_000 },
    { closeTimeoutMs: 0 },
    { firstStreamId: 0 },
    { noSuchOption: 1 },
    { toString: 1 },
  ];
  for (const options of bad) {
    it(`refuse ${JSON.stringify(options)}`, () => {
      expect(codeFor(options)).toBe('ERR_STARLANE_OPTION');
    });
  }
});
