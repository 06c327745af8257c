import { describe, expect, it } from '@jest/globals';
import { environmentFor } from '../../../lib/cli/services/publish/environment.js';
import {
  filledIn,
  PUBLISH_FLAGS,
  type PublishOptions,
  type PublishValues,
  publishOptions,
} from '../../../lib/cli/services/publish/options.js';

function options(values: Partial<PublishValues>, behind?: readonly string[], name = 'web'): PublishOptions {
  const none = Object.fromEntries(Object.keys(PUBLISH_FLAGS).map((flag) => [flag, undefined]));
  return publishOptions(name, { ...none, ...values } as PublishValues, behind);
}

describe('the options of publish', () => {
  it('have a port, a unix socket, or a program', () => {
    expect(options({ port: 80 }).target).toEqual({ host: '127.0.0.1', port: 80, unix: undefined });
    expect(options({ port: 80, host: '10.0.0.5' }).target).toMatchObject({ host: '10.0.0.5' });
    expect(options({ unix: '/run/x' }).target).toMatchObject({ unix: '/run/x' });
    expect(options({}, ['node', 'x.js'])).toMatchObject({
      target: { port: 0 },
      program: { command: ['node', 'x.js'], restart: 'always', stopTimeoutMs: 10_000 },
      check: { name: 'tcp', intervalMs: 5_000, timeoutMs: 2_000, rise: 2, fall: 3 },
    });
    expect(options({ mcp: true }, ['npx', 'x'])).toMatchObject({ target: undefined, maxProcesses: 16 });
    expect(options({ command: 'node x.js' }).program).toMatchObject({ command: 'node x.js' });
  });

  it('bind with weight, meta, and who may dial', () => {
    expect(
      options({ port: 1, weight: 0, meta: ['zone=a', 'note=a=b'], allow: ['x-*'], allowTag: ['ops'] }).bind,
    ).toEqual({
      weight: 0,
      meta: { zone: 'a', note: 'a=b' },
      allow: ['x-*'],
      allowTag: ['ops'],
    });
  });

  it.each<[string, Partial<PublishValues>, readonly string[] | undefined, RegExp]>([
    ['nothing', {}, undefined, /needs --port, --unix, or a program/],
    ['two places', { port: 1, unix: '/x' }, undefined, /--port and --unix/],
    ['port 0 without a program', { port: 0 }, undefined, /--port 0 is for a program/],
    ['an empty program', { port: 1 }, [], /no program behind --/],
    ['two programs', { port: 1, command: 'a' }, ['b'], /two programs/],
    ['MCP without a program', { mcp: true }, undefined, /needs a program/],
    ['MCP with a port', { mcp: true, port: 1 }, ['x'], /has no port/],
    ['MCP with a check', { mcp: true, check: 'tcp' }, ['x'], /has no check/],
    ['a restart without a program', { port: 1, restart: 'never' }, undefined, /needs a program/],
    ['an interval without a check', { port: 1, interval: 1 }, undefined, /needs --check/],
    ['a timeout without a check', { port: 1, timeout: 1 }, undefined, /for the network, set STARLANE_TIMEOUT/],
    ['a status with tcp', { port: 1, check: 'tcp', checkStatus: '200' }, undefined, /needs a check by HTTP/],
    ['a check that is none', { port: 1, check: 'htp' }, undefined, /--check must be/],
    ['a status that is none', { port: 1, check: '/', checkStatus: '2xx' }, undefined, /--check-status must be/],
    ['meta without a key', { port: 1, meta: ['=x'] }, undefined, /KEY=VALUE/],
  ])('are refused with %s', (_what, values, behind, message) => {
    expect(() => options(values, behind)).toThrow(message);
  });

  it('are refused with a name that no service can have', () => {
    expect(() => options({ port: 1 }, undefined, '@h2h9zK1b0cM:80')).toThrow(/name of a service/);
    expect(() => options({ port: 1 }, undefined, 'a b')).toThrow(/a b/);
    expect(options({ port: 1 }, undefined, 'web:8080').name).toBe('web:8080');
  });

  it('fill the port into the command', () => {
    expect(filledIn(['x', '--listen={port}', '{port}:{port}'], 81, undefined)).toEqual(['x', '--listen=81', '81:81']);
    expect(filledIn('x -s {unix}', 0, '/run/x')).toBe('x -s /run/x');
  });

  it('keep the variables of the node from the program', () => {
    const own = { PATH: '/bin', STARLANE_SECRET: 's', starlane_join: 'j', STARLANE_ENV: 'blue', DEBUG: 'x' };
    expect(environmentFor(own, ['STARLANE_ENV'], { PORT: '1' })).toEqual({
      PATH: '/bin',
      DEBUG: 'x',
      STARLANE_ENV: 'blue',
      PORT: '1',
    });
  });
});
