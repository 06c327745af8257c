import net from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { coded, ERRORS, type ErrorCode, netError, StarlaneError, starlaneError } from '../lib/errors.js';

describe('the table of errors', () => {
  it('gives every code a text of one line that fits a table', () => {
    for (const { message } of Object.values(ERRORS)) expect(message).toMatch(/^[^|\n]{10,100}$/);
  });
});

describe('starlaneError', () => {
  it('carries the code, the text of the table, the detail and the cause', () => {
    const cause = new Error('inner');
    const error = starlaneError('ERR_STARLANE_OPTION', 'maxLinks', cause);
    expect(error).toBeInstanceOf(StarlaneError);
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe('StarlaneError');
    expect(error.code).toBe('ERR_STARLANE_OPTION');
    expect(error.message).toBe('unknown or invalid option: maxLinks');
    expect(error.cause).toBe(cause);
  });

  it('has no property cause when none is given', () => {
    const error = starlaneError('ERR_STARLANE_CLOSED');
    expect(error.message).toBe(ERRORS.ERR_STARLANE_CLOSED.message);
    expect(Object.hasOwn(error, 'cause')).toBe(false);
  });
});

describe('netError', () => {
  it('equals the error of Node for a refused connection', async () => {
    const refused = await new Promise<NodeJS.ErrnoException & { address?: string; port?: number }>(
      (resolve, reject) => {
        const server = net.createServer().listen(0, '127.0.0.1', () => {
          const { port } = server.address() as net.AddressInfo;
          server.close(() => {
            net.connect(port, '127.0.0.1', () => reject(new Error('it should be refused'))).on('error', resolve);
          });
        });
      },
    );
    const ours = netError('ECONNREFUSED', 'connect', { address: refused.address, port: refused.port });
    expect(ours.message).toBe(refused.message);
    expect({ ...ours }).toEqual({ ...refused });
  });

  it('equals the error of Node for an address in use', async () => {
    const inUse = await new Promise<NodeJS.ErrnoException & { address?: string; port?: number }>((resolve) => {
      const first = net.createServer().listen(0, '127.0.0.1', () => {
        const second = net.createServer().on('error', (error) => first.close(() => resolve(error)));
        second.listen((first.address() as net.AddressInfo).port, '127.0.0.1');
      });
    });
    const ours = netError('EADDRINUSE', 'listen', { address: inUse.address, port: inUse.port });
    expect(ours.message).toBe(inUse.message);
    expect({ ...ours }).toEqual({ ...inUse });
  });

  it('has the address in the format of Node, by name and port as far as they are known', () => {
    expect(netError('ECONNREFUSED', 'connect', { address: 'echo', port: 80 }).message).toBe(
      'connect ECONNREFUSED echo:80',
    );
    expect(netError('ECONNREFUSED', 'connect', { port: 80 }).message).toBe('connect ECONNREFUSED :80');
    expect(netError('ENOTFOUND', 'connect', { address: 'echo' }).message).toBe('connect ENOTFOUND echo');
    expect(netError('ECONNRESET', 'read').message).toBe('read ECONNRESET');
  });

  it('carries a negative errno for every code, the syscall and the cause', () => {
    const cause = new Error('inner');
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      if (code.startsWith('ERR_')) continue;
      const error = netError(code as 'EPIPE', 'write', undefined, cause);
      expect(error.errno).toBeLessThan(0);
      expect(error).toMatchObject({ code, syscall: 'write', cause });
    }
  });
});

describe('coded', () => {
  it('returns any error that has a code unchanged', () => {
    for (const error of [starlaneError('ERR_STARLANE_TLS'), netError('EPIPE', 'write'), new TypeError('wrong')]) {
      const withCode = error instanceof TypeError ? Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' }) : error;
      expect(coded(withCode)).toBe(withCode);
    }
  });

  it('wraps an error without a code', () => {
    const cause = Object.assign(new Error('strange'), { code: 7 });
    expect(coded(cause)).toMatchObject({ code: 'ERR_STARLANE_TRANSPORT', cause });
    expect(coded(cause).message).toMatch(/: strange$/);
  });
});
