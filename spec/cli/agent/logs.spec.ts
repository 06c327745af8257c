// Logs that are followed: complete over cut circuits, with their gaps named.

import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FollowOptions, follow } from '../../../lib/cli/agent/deploy/follow.js';
import { HostClient } from '../../../lib/cli/agent/host-client.js';
import { Journal } from '../../../lib/cli/agent/journal.js';
import { sendJournal } from '../../../lib/cli/agent/journal-route.js';
import type { AgentPart } from '../../../lib/cli/agent/part.js';
import { pause } from '../../../lib/cli/agent/retry.js';
import { NodeOverlay } from '../../../lib/cli/run/overlay.js';
import { AgentNet } from '../../support/agent-net.js';
import { within } from '../../support/deadline.js';

let net: AgentNet;
let folder: string;
let journal: Journal;
/** Circuits of the reader. */
let circuits: Duplex[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-log-'));
  journal = Journal.open(folder, 1024 * 1024);
  circuits = [];
  net = await AgentNet.of(2);
  const part: AgentPart = {
    routes: [
      {
        method: 'GET',
        path: '/v1/apps/:app/logs',
        right: 'logs',
        of: 'app',
        handle: async (call) => {
          await sendJournal(call, journal);
          return undefined;
        },
      },
    ],
    start: async () => {},
    stop: async () => {},
    status: () => ({}),
  };
  await net.agent(1, { allow: ['members=n0 rights=logs'] }, [part]);
});

afterEach(async () => {
  await net.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A client whose circuits a spec can cut. */
function client(): HostClient {
  const { nodes } = net.net.net;
  const overlay = new NodeOverlay(nodes[0]);
  const dial = overlay.dial.bind(overlay);
  overlay.dial = (address, options) => {
    const circuit = dial(address, options);
    circuits.push(circuit);
    return circuit;
  };
  return new HostClient(overlay, nodes[1].id);
}

class Reader {
  text = '';
  gaps: number[] = [];
  breaks = 0;
  private readonly aborter = new AbortController();
  private look: () => void = () => {};
  readonly end: Promise<number | undefined>;

  constructor(options: Partial<FollowOptions> = {}) {
    this.end = follow(client(), {
      path: '/v1/apps/web/logs',
      tailBytes: 1_000_000,
      follows: true,
      timeoutMs: 10_000,
      giveUpMs: 20_000,
      signal: this.aborter.signal,
      onBytes: (bytes) => {
        this.text += bytes;
        this.look();
      },
      onGap: (bytes) => void this.gaps.push(bytes),
      onBreak: () => void this.breaks++,
      ...options,
    });
    this.end.catch(() => {});
  }

  until(is: () => boolean): Promise<void> {
    return within(
      'what is in the log',
      new Promise((resolve) => {
        this.look = () => is() && resolve();
        this.look();
      }),
    );
  }

  stop(): Promise<number | undefined> {
    this.aborter.abort();
    return this.end;
  }
}

describe('a log', () => {
  it('is complete, and has no byte twice, though circuits are cut again and again', async () => {
    const reader = new Reader();
    let written = '';
    for (let round = 0; round < 8; round++) {
      for (let index = 0; index < 200; index++) {
        const line = `line ${round} ${index}\n`;
        journal.append(Buffer.from(line));
        written += line;
      }
      const part = written.length - 1_500;
      await reader.until(() => reader.text.length > part);
      circuits.at(-1)?.destroy();
    }
    await reader.until(() => reader.text.length >= written.length);
    expect(reader.text).toBe(written);
    expect(reader.breaks).toBeGreaterThan(3);
    expect(await reader.stop()).toBe(written.length);
  });

  it('is complete when a circuit fails while lines come', async () => {
    const reader = new Reader();
    journal.append(Buffer.from('before\n'));
    await reader.until(() => reader.text === 'before\n');
    circuits.at(-1)?.destroy(new Error('cut'));
    journal.append(Buffer.from('meanwhile\n'));
    await reader.until(() => reader.text === 'before\nmeanwhile\n');
    await reader.stop();
  });

  it('leaves nothing behind at the signal of a reader that follows it for long', async () => {
    const { signal } = new AbortController();
    await pause(0, signal);
    await client()
      .open({ method: 'GET', path: '/v1/nothing', timeoutMs: 10_000, signal })
      .catch(() => {});
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('is followed over a cut that comes long after its last line', async () => {
    let nowMs = 0;
    const reader = new Reader({ giveUpMs: 500, now: () => nowMs });
    journal.append(Buffer.from('before\n'));
    await reader.until(() => reader.text === 'before\n');
    nowMs += 600;
    circuits.at(-1)?.destroy();
    journal.append(Buffer.from('after\n'));
    await reader.until(() => reader.text === 'before\nafter\n');
    await reader.stop();
  });

  it('is read from a position on, to its end', async () => {
    journal.append(Buffer.from('one\ntwo\n'));
    const reader = new Reader({ follows: false, from: 4 });
    expect(await reader.end).toBe(8);
    expect(reader.text).toBe('two\n');
  });

  it('names how much is not kept any more', async () => {
    for (let index = 0; index < 300; index++) journal.append(Buffer.alloc(10_000, 'x'));
    const reader = new Reader({ follows: false, from: 100 });
    await reader.end;
    expect(reader.gaps).toEqual([journal.start - 100]);
    expect(reader.text.length).toBe(journal.end - journal.start);
  });

  it('is refused from behind its end, and to a caller without the right', async () => {
    await expect(new Reader({ from: 5 }).end).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    await expect(
      net.client(1, 1).ask({ method: 'GET', path: '/v1/apps/web/logs', timeoutMs: 10_000 }),
    ).rejects.toMatchObject({ code: 'EACCES' });
  });

  it('does not grow in memory for a reader that takes nothing', async () => {
    const before = journal.end;
    const response = await client().open({ method: 'GET', path: '/v1/apps/web/logs?follow=true', timeoutMs: 10_000 });
    response.pause();
    for (let index = 0; index < 100; index++) journal.append(Buffer.alloc(10_000, 'x'));
    expect(journal.end - before).toBe(1_000_000);
    response.destroy();
  });
});
