// Flags: texts to values, and the order of command line, environment and file.

import { describe, expect, it } from '@jest/globals';
import { flag, kebab, parseDuration, parseValue, variableOf } from '../../lib/cli/flags.js';
import { resolveValues } from '../../lib/cli/values.js';

function thrownBy(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

describe('a duration', () => {
  it.each([
    ['500ms', 500],
    ['10s', 10_000],
    ['10', 10_000],
    ['1.5s', 1_500],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['30d', 2_592_000_000],
  ])('%s has %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', 's', '-1s', '1 w', '1e3', '10 s', 'ten'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe('a value', () => {
  it('names the place and the range when it does not fit', () => {
    const port = flag.integer('a port', { min: 1, max: 65_535 });
    expect(thrownBy(() => parseValue(port, '0', '--port'))).toMatchObject({
      message: '--port: must be a whole number from 1 to 65535, not "0"',
      exitCode: 2,
    });
    expect(thrownBy(() => parseValue(port, '80x', '--port')).message).toBe('--port: must be a whole number, not "80x"');
  });

  it('of a time is no longer than a timer can be', () => {
    expect(parseValue(flag.duration('x'), '24d', '--x')).toBe(24 * 86_400_000);
    expect(thrownBy(() => parseValue(flag.duration('x'), '30d', '--x')).message).toMatch(/to 2147483647 ms, not "30d"/);
    expect(parseValue(flag.duration('x', { max: 30 * 86_400_000 }), '30d', '--x')).toBe(30 * 86_400_000);
  });

  it('must be one of the choices', () => {
    const role = flag.text('a role', { choices: ['peer', 'client', 'server'] });
    expect(thrownBy(() => parseValue(role, 'king', 'STARLANE_ROLE')).message).toBe(
      'STARLANE_ROLE: must be peer, client or server, not "king"',
    );
  });

  it('of a list is split at commas, and collects what is given several times', () => {
    expect(parseValue(flag.list('names'), ['a,b', ' c '], '--name')).toEqual(['a', 'b', 'c']);
  });
});

describe('the names of a flag', () => {
  it('follow from that in the code', () => {
    expect(kebab('trustProxy')).toBe('trust-proxy');
    expect(variableOf('gateway', 'trustProxy', flag.boolean('x'))).toBe('STARLANE_GATEWAY_TRUST_PROXY');
    expect(variableOf('', 'join', flag.list('x'))).toBe('STARLANE_JOIN');
    expect(variableOf('', 'config', flag.text('x', { env: 'STARLANE_CONFIG' }))).toBe('STARLANE_CONFIG');
  });
});

describe('the command line, the environment and the file', () => {
  const flags = { port: flag.integer('a port'), hosts: flag.list('hosts'), isOn: flag.boolean('x') };
  const resolve = (
    commandLine: Record<string, unknown>,
    environment: Record<string, string>,
    section: Record<string, unknown>,
  ) => resolveValues('serve', flags, { commandLine, environment, section, where: 'starlane.yaml: serve.' });

  it('beat each other in this order', () => {
    const environment = { STARLANE_SERVE_PORT: '2' };
    expect(resolve({ port: '1' }, environment, { port: 3 }).port).toBe(1);
    expect(resolve({}, environment, { port: 3 }).port).toBe(2);
    expect(resolve({}, {}, { port: 3 }).port).toBe(3);
    expect(resolve({}, {}, {}).port).toBeUndefined();
  });

  it('take an empty variable for one that is not set', () => {
    expect(resolve({}, { STARLANE_SERVE_PORT: '' }, { port: 3 }).port).toBe(3);
  });

  it('separate lists of the environment by white space as well', () => {
    expect(resolve({}, { STARLANE_SERVE_HOSTS: 'a b,c' }, {}).hosts).toEqual(['a', 'b', 'c']);
  });

  it('name where a faulty value comes from', () => {
    expect(thrownBy(() => resolve({}, { STARLANE_SERVE_PORT: 'x' }, {})).message).toMatch(/^STARLANE_SERVE_PORT: /);
    expect(thrownBy(() => resolve({}, {}, { port: 'x' })).message).toMatch(/^starlane.yaml: serve.port: /);
  });

  it('keep false apart from not given', () => {
    expect(resolve({ isOn: false }, { STARLANE_SERVE_IS_ON: 'true' }, {}).isOn).toBe(false);
  });
});
