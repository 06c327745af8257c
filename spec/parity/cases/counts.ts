// bytesRead, bytesWritten, bufferSize and writableLength, exact at every moment.

import { expect } from '@jest/globals';
import { next, readAll, readBytes, type Topic } from '../trial.js';

export const COUNTS: Topic = {
  name: 'the counts of a socket',
  cases: [
    {
      title: 'count the bytes of strings, not their characters',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        const steps: Array<[string, BufferEncoding, number]> = [
          ['héllo €', 'utf8', 10],
          ['héllo', 'latin1', 15],
          ['c0ffee00', 'hex', 19],
          ['aGVsbG8=', 'base64', 24],
          ['aGVsbG8', 'base64url', 29],
          ['hé', 'utf16le', 33],
          ['abc', 'ascii', 36],
        ];
        for (const [text, encoding, total] of steps) {
          near.write(text, encoding);
          expect([encoding, near.bytesWritten]).toEqual([encoding, total]);
        }
        near.end();
        const expected = Buffer.concat(steps.map(([text, encoding]) => Buffer.from(text, encoding)));
        expect(await arrived).toEqual(expected);
        expect([far.bytesRead, near.bytesWritten]).toEqual([36, 36]);
      },
    },
    {
      title: 'include what is written before the connection',
      run: async (_carrier, t) => {
        const server = await t.listening();
        const near = t.connect(server);
        expect(near.bytesWritten).toBe(0);
        near.write('héllo');
        expect(near.bytesWritten).toBe(6);
        expect([near.writableLength > 0, near.bufferSize]).toEqual([true, near.writableLength]);
        near.write('abcd', 'hex');
        near.write(Buffer.alloc(3));
        near.write(new Uint8Array(2));
        expect([near.bytesWritten, near.bufferSize]).toEqual([13, near.writableLength]);
        const accepted = next(server, 'connection');
        await next(near, 'connect');
        expect(near.bytesWritten).toBe(13);
        await accepted;
        expect(near.bytesWritten).toBe(13);
      },
    },
    {
      title: 'include what is corked',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.cork();
        near.write('héllo');
        near.write('ffff', 'hex');
        near.write(Buffer.from('!'));
        expect(near.bytesWritten).toBe(9);
        expect(near.writableLength).toBeGreaterThan(0);
        near.uncork();
        expect(near.bytesWritten).toBe(9);
        near.end();
        expect(await arrived).toEqual(Buffer.concat([Buffer.from('héllo'), Buffer.from([255, 255]), Buffer.from('!')]));
        expect(far.bytesRead).toBe(9);
        expect(near.bytesWritten).toBe(9);
      },
    },
    {
      title: 'include what is queued because the other end does not read',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair({ server: { pauseOnConnect: true } });
        const chunk = Buffer.alloc(0x1_0000);
        let total = 0;
        for (let writes = 0; writes < 400; writes++) {
          near.write(chunk);
          total += chunk.length;
          expect(near.bytesWritten).toBe(total);
        }
        near.write('é');
        expect(near.bytesWritten).toBe(total + 2);
        const arrived = readAll(far);
        far.resume();
        near.end();
        expect(await arrived).toHaveLength(total + 2);
        expect([far.bytesRead, near.bytesWritten]).toEqual([total + 2, total + 2]);
      },
    },
    {
      title: 'keep their values after the end',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.on('data', () => {});
        far.on('data', (chunk) => far.end(chunk));
        near.write('hello');
        await next(near, 'close');
        expect([near.bytesRead, near.bytesWritten]).toEqual([5, 5]);
        expect([near.bufferSize, near.writableLength]).toEqual([undefined, 0]);
      },
    },
    {
      title: 'keep their values after destroy',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readBytes(far, 5);
        near.write('hello');
        await arrived;
        const back = readBytes(near, 3);
        far.write('abc');
        await back;
        near.destroy();
        expect([near.bytesRead, near.bytesWritten, near.bufferSize]).toEqual([3, 5, undefined]);
        await next(near, 'close');
        expect([near.bytesRead, near.bytesWritten]).toEqual([3, 5]);
      },
    },
    {
      title: 'do not include rejected writes',
      run: async (_carrier, t) => {
        const { near } = await t.pair();
        near.end('hello');
        near.write('more');
        expect(near.bytesWritten).toBe(5);
      },
    },
    {
      title: 'include the chunk in the listener for data',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        let bytes = 0;
        const seen: boolean[] = [];
        far.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          seen.push(far.bytesRead >= bytes);
        });
        const ended = next(far, 'end');
        near.write(Buffer.alloc(100_000));
        near.end(Buffer.alloc(1));
        await ended;
        expect([bytes, far.bytesRead, seen.every(Boolean)]).toEqual([100_001, 100_001, true]);
      },
    },
    {
      title: 'include what has arrived but has not been read',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        near.write('hello');
        await next(far, 'readable');
        expect([far.bytesRead, far.readableLength]).toEqual([5, 5]);
      },
    },
    {
      title: 'count bytes when text is decoded',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        far.setEncoding('utf8');
        near.end('héllo');
        let text = '';
        far.on('data', (chunk) => {
          text += chunk;
        });
        await next(far, 'end');
        expect([text, far.bytesRead]).toEqual(['héllo', 6]);
      },
    },
    {
      title: 'count nothing for empty writes',
      run: async (_carrier, t) => {
        const { near, far } = await t.pair();
        const arrived = readAll(far);
        near.write('');
        near.write(Buffer.alloc(0));
        near.end('x');
        expect(near.bytesWritten).toBe(1);
        expect(String(await arrived)).toBe('x');
      },
    },
  ],
};
