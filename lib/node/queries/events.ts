// The events of a node as server-sent events (WHATWG HTML, 9.2), for readers that follow it: each gets what happens from then on. A slow
// reader loses events, and gets their number; it never makes the node keep more than a few.

import type { ServerResponse } from 'node:http';
import { codeOf } from '../../errors.js';
import type { Link } from '../../link/link.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import { Deadline } from '../../util/deadline.js';
import type { EventAnswers, EventName } from './answers.js';
import { describeHealth, describeService, linkInfo, VisibleNodes } from './describe.js';
import type { CallerRights } from './rights.js';
import type { QuerySources } from './sources.js';

/** Readers at a time, of all callers. */
export const MAX_READERS = 32;
/** Bytes that may wait for a reader. */
export const MAX_WAITING_BYTES = 256 * 1024;
/** A comment is sent that often, so that both ends notice when the other has gone. */
const BEAT_MS = 15_000;
/** A reader that has taken nothing for so many beats is dropped. */
const MAX_MISSED = 4;

/** What happens in a node, as its own events give it. */
export type NodeEvent =
  | { readonly name: 'link'; readonly link: Link }
  | { readonly name: 'unlink'; readonly link: Link; readonly reason: Error | undefined }
  | { readonly name: 'service' | 'unservice'; readonly service: ServiceInfo }
  | { readonly name: 'warning'; readonly error: Error }
  | { readonly name: 'drain' };

export class EventReaders {
  private readonly readers = new Set<Reader>();

  constructor(private readonly sources: QuerySources) {}

  get isFull(): boolean {
    return this.readers.size >= MAX_READERS;
  }

  get size(): number {
    return this.readers.size;
  }

  /** Answers a request with events until the reader goes, or {@link end}. */
  add(response: ServerResponse, rights: CallerRights): void {
    const reader = new Reader(this.sources, response, rights, () => this.readers.delete(reader));
    this.readers.add(reader);
    reader.start();
  }

  publish(event: NodeEvent): void {
    for (const reader of this.readers) reader.publish(event);
  }

  /** Ends the answers of all readers. */
  end(): void {
    for (const reader of [...this.readers]) reader.end();
  }
}

class Reader {
  private lost = 0;
  private missed = 0;
  private isEnded = false;
  private readonly beat: Deadline;

  constructor(
    private readonly sources: QuerySources,
    private readonly response: ServerResponse,
    private readonly rights: CallerRights,
    private readonly onGone: () => void,
  ) {
    this.beat = new Deadline(sources.timers, () => this.onBeat());
  }

  start(): void {
    const { response } = this;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    response.once('close', () => this.stop());
    response.on('drain', () => {
      this.missed = 0;
      this.reportLost();
    });
    this.send('hello', describeHealth(this.sources));
    this.beat.set(BEAT_MS);
  }

  publish(event: NodeEvent): void {
    const { envs } = this.rights;
    switch (event.name) {
      case 'link':
        return this.send('link', linkInfo(event.link, envs));
      case 'unlink': {
        const { link, reason } = event;
        const shown = reason === undefined ? {} : { reason: { code: codeOf(reason), message: reason.message } };
        return this.send('unlink', { ...linkInfo(link, envs), ...shown });
      }
      case 'service':
      case 'unservice':
        if (!this.mayShow(event.service)) return;
        return this.send(event.name, describeService(this.sources, event.service));
      case 'warning':
        return this.send('warning', { code: codeOf(event.error) ?? '', message: event.error.message });
      case 'drain':
        return this.send('drain', { id: this.sources.id });
    }
  }

  end(): void {
    this.stop();
    this.response.end();
  }

  private mayShow({ nodeId }: ServiceInfo): boolean {
    // The record of a node that has gone may be gone, too; with one env for both there is nothing to hide.
    const { envs } = this.rights;
    if (envs.size === this.sources.envDigests.length) return true;
    return new VisibleNodes(this.sources, envs).has(nodeId);
  }

  private send<Name extends EventName>(name: Name, data: EventAnswers[Name]): void {
    if (this.isEnded) return;
    if (this.response.writableLength > MAX_WAITING_BYTES) {
      this.lost++;
      return;
    }
    if (this.lost > 0) this.reportLost();
    this.response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  private reportLost(): void {
    const events = this.lost;
    if (events === 0) return;
    this.lost = 0;
    this.send('lost', { events });
  }

  private onBeat(): void {
    if (this.response.writableNeedDrain && ++this.missed >= MAX_MISSED) {
      this.stop();
      this.response.destroy();
      return;
    }
    if (!this.response.writableNeedDrain) this.response.write(':\n\n');
    this.beat.set(BEAT_MS);
  }

  private stop(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.beat.clear();
    this.onGone();
  }
}
