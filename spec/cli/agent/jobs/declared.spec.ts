import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { inheritedFrom } from '../../../../lib/cli/agent/inherited.js';
import {
  faultsOf,
  type JobCommand,
  MAX_VALUE_LENGTH,
  programFor,
  wholePattern,
} from '../../../../lib/cli/agent/jobs/declared.js';

function parameter(pattern: string, more: { byDefault?: string; mayBeOption?: boolean } = {}) {
  return { pattern: wholePattern(pattern), byDefault: more.byDefault, mayBeOption: more.mayBeOption === true };
}

function command(more: Partial<JobCommand> = {}): JobCommand {
  return {
    name: 'backup',
    run: ['/usr/bin/backup', '--db', '{db}'],
    params: new Map([['db', parameter('[a-z]+')]]),
    env: {},
    callerEnv: new Map(),
    cwd: undefined,
    user: undefined,
    stdin: false,
    timeoutMs: 1_000,
    graceMs: 1_000,
    inputMs: 1_000,
    maxOutputBytes: 1_000,
    maxRunning: 1,
    keepMs: 1_000,
    allow: undefined,
    ...more,
  };
}

function request(params: Record<string, string>, env: Record<string, string> = {}) {
  return { command: 'backup', params, env, input: false };
}

const own = inheritedFrom({ PATH: '/bin', HOME: '/home/agent', AWS_SECRET: 's', STARLANE_SECRET: 's', LEVEL: '1' }, []);

describe('the program of a declared command', () => {
  it('is its file with its arguments, of which parameters are whole ones', () => {
    expect(programFor(command(), request({ db: 'orders' }), own).argv).toEqual(['/usr/bin/backup', '--db', 'orders']);
  });

  it('gets no more arguments by any value, whatever is in it', () => {
    const anything = command({ params: new Map([['db', parameter('[^]*')]]) });
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        let argv: readonly string[];
        try {
          argv = programFor(anything, request({ db: value }), own).argv;
        } catch {
          expect(value).toMatch(/^-|\0/);
          return;
        }
        expect(argv).toEqual(['/usr/bin/backup', '--db', value]);
      }),
    );
  });

  it.each([
    ['another text than the pattern has', 'Orders'],
    ['a text of which a part matches', 'orders; rm -rf /'],
    ['a second line', 'orders\nx'],
    ['a line break at the end', 'orders\n'],
    ['an option', '--output=x'],
    ['an empty text', ''],
    ['a character of code 0', 'or\0ders'],
  ])('is refused for %s', (_what, db) => {
    expect(() => programFor(command(), request({ db }), own)).toThrow('the value of db is not allowed');
  });

  it('is refused for an option although the pattern has it, unless the host says so', () => {
    const params = (mayBeOption: boolean) => new Map([['db', parameter('.*', { mayBeOption })]]);
    expect(() => programFor(command({ params: params(false) }), request({ db: '--help' }), own)).toThrow('not allowed');
    const { argv } = programFor(command({ params: params(true) }), request({ db: '--help' }), own);
    expect(argv[2]).toBe('--help');
  });

  it('is refused for a value that is too long, before the pattern looks at it', () => {
    const slow = command({ params: new Map([['db', parameter('(a+)+b')]]) });
    expect(() => programFor(slow, request({ db: 'a'.repeat(MAX_VALUE_LENGTH + 1) }), own)).toThrow('not allowed');
  });

  it('is refused without a parameter, and with one that is not declared, also by the names of objects', () => {
    expect(() => programFor(command(), request({}), own)).toThrow('the parameter db is missing');
    expect(() => programFor(command(), request({ db: 'x', more: 'y' }), own)).toThrow('it has no parameter "more"');
    const hostile = JSON.parse('{"db":"x","__proto__":"y"}');
    expect(() => programFor(command(), request(hostile), own)).toThrow('it has no parameter "__proto__"');
    const inherits = command({ params: new Map([['toString', parameter('.*')]]), run: ['/x', '{toString}'] });
    expect(() => programFor(inherits, request({}), own)).toThrow('the parameter toString is missing');
  });

  it('takes the default of a parameter', () => {
    const params = new Map([['db', parameter('[a-z]+', { byDefault: 'main' })]]);
    expect(programFor(command({ params }), request({}), own).argv[2]).toBe('main');
  });

  it('passes on what only looks like a parameter when it is written with two braces', () => {
    const run = ['/usr/bin/awk', '{{print}}', '{db}'];
    expect(programFor(command({ run }), request({ db: 'x' }), own).argv).toEqual(['/usr/bin/awk', '{print}', 'x']);
  });

  it('gets no variables of the agent but a few, those of the host, and declared ones of the caller', () => {
    const declared = command({ env: { MODE: 'full' }, callerEnv: new Map([['LEVEL', parameter('[0-9]')]]) });
    expect(programFor(declared, request({ db: 'x' }, { LEVEL: '3' }), own).env).toEqual({
      PATH: '/bin',
      HOME: '/home/agent',
      MODE: 'full',
      LEVEL: '3',
    });
    expect(() => programFor(declared, request({ db: 'x' }, { LEVEL: '33' }), own)).toThrow('LEVEL is not allowed');
    expect(() => programFor(declared, request({ db: 'x' }, { LD_PRELOAD: 'x' }), own)).toThrow('cannot be set');
  });
});

describe('a declaration', () => {
  it.each([
    ['a program without its path', { run: ['backup', '{db}'] }, 'absolute path'],
    ['a parameter that is a part of an argument', { run: ['/x', '--db={db}', '{db}'] }, 'must be a whole argument'],
    ['a parameter that is not declared', { run: ['/x', '{db}', '{table}'] }, '{table} is no declared parameter'],
    ['a parameter that is not used', { run: ['/x'] }, 'the parameter db is not used'],
    ['a folder without its path', { cwd: 'tmp' }, 'cwd must be an absolute path'],
    ['a name with a slash', { name: '../x' }, 'a name has letters'],
    [
      'a default that does not match',
      { params: new Map([['db', parameter('a', { byDefault: 'b' })]]) },
      'the default of db',
    ],
  ])('is at fault with %s', (_what, more, fault) => {
    expect(faultsOf(command(more)).join()).toContain(fault);
  });

  it('is in order otherwise', () => {
    expect(faultsOf(command())).toEqual([]);
  });

  it('cannot leave the group around its pattern', () => {
    expect(() => wholePattern('a)|(?:.*')).toThrow(SyntaxError);
    expect(wholePattern('a|b').test('ax')).toBe(false);
  });
});
