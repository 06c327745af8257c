import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { UnheardFaults } from '../../lib/util/warnings.js';

const MINUTE_MS = 60_000;

let now: number;
let emitted: Array<[message: string, code: string | undefined]>;
let faults: UnheardFaults;

function fault(message: string, code?: string): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

beforeEach(() => {
  now = 0;
  emitted = [];
  faults = new UnheardFaults(() => now);
  jest.spyOn(process, 'emitWarning').mockImplementation(((message: string, options: { code?: string }) => {
    emitted.push([message, options.code]);
  }) as typeof process.emitWarning);
});
afterEach(() => {
  jest.restoreAllMocks();
});

describe('a fault without a listener', () => {
  it('is a warning of the process, once a minute for each code, with the number of those between', () => {
    faults.report(fault('one', 'A'));
    faults.report(fault('two', 'A'));
    faults.report(fault('three', 'B'));
    now = MINUTE_MS - 1;
    faults.report(fault('four', 'A'));
    now = MINUTE_MS;
    faults.report(fault('five', 'A'));
    faults.report(fault('six', 'A'));
    expect(emitted).toEqual([
      ['one', 'A'],
      ['three', 'B'],
      ['five (and 2 more with this code before)', 'A'],
    ]);
  });

  it('is distinguished by its name when it has no code', () => {
    faults.report(new TypeError('one'));
    faults.report(new RangeError('two'));
    faults.report(new TypeError('three'));
    expect(emitted).toEqual([
      ['one', undefined],
      ['two', undefined],
    ]);
  });

  it('does not fill the memory when every one has another code', () => {
    for (let n = 0; n < 1_000; n++) faults.report(fault(`${n}`, `CODE_${n}`));
    expect(emitted).toHaveLength(65);
  });
});
