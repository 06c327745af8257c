// A node in a separate process, as the spec sees it. member-program.mjs has its commands.

import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runProgram } from '../../support/built-lib.js';
import type { Child, Line } from '../../support/child.js';

const PROGRAM = pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), 'member-program.mjs')).href;

export interface MemberOptions {
  /** Of the node. */
  readonly options: object;
  /** A link address; none for a node that does not listen. */
  readonly listen?: string;
  /** What it serves, by `mirror` in member-program.mjs. */
  readonly services?: readonly string[];
  /** A command that runs the process, as in {@link runProgram}. */
  readonly enter?: readonly string[];
}

export interface OpenStream {
  readonly key: number;
  readonly via: readonly string[];
}

export interface Dialled {
  readonly ms: number;
  readonly via?: readonly string[];
  /** Of its error, if it failed; null if that has none. */
  readonly code?: string | null;
}

export class Member {
  private requests = 0;

  private constructor(
    private readonly child: Child,
    readonly nodeId: string,
    /** Where it listens. */
    readonly address: string,
  ) {}

  static async start({ enter, ...made }: MemberOptions): Promise<Member> {
    const body = `const { member } = await import(${JSON.stringify(PROGRAM)}); member(starlane, say);`;
    const child = runProgram(body, enter);
    try {
      child.send({ id: 0, do: 'start', ...made });
      const { nodeId, address, failed } = await child.waitFor('a node', (line) => line['id'] === 0);
      if (failed !== undefined) throw new Error(String(failed));
      return new Member(child, nodeId as string, (address ?? '') as string);
    } catch (error) {
      await child.stop();
      throw error;
    }
  }

  async join(other: Member): Promise<void> {
    await this.ask({ do: 'join', address: other.address });
  }

  /** Until the service is there; resolves with the hops to it. */
  async waitFor(service: string, timeoutMs = 10_000): Promise<number> {
    return (await this.ask({ do: 'waitFor', service, timeoutMs }))['hops'] as number;
  }

  /** Until the way to the service has so many hops. */
  async waitForHops(service: string, hops: number): Promise<void> {
    await this.ask({ do: 'waitForHops', service, hops });
  }

  /** Until as many other nodes are within reach. */
  async knows(nodes: number): Promise<void> {
    await this.ask({ do: 'knows', nodes });
  }

  /** Until it has a link to the other. */
  async linked(other: Member): Promise<void> {
    await this.ask({ do: 'linked', peerId: other.nodeId });
  }

  /** Waits until the service is gone. */
  async forgets(service: string): Promise<void> {
    await this.ask({ do: 'forgets', service });
  }

  /** Opens a stream for each key, with traffic from now on, and waits until each has carried something. */
  async open(service: string, keys: readonly number[]): Promise<OpenStream[]> {
    return (await this.ask({ do: 'open', service, keys }))['streams'] as OpenStream[];
  }

  /** Until each of the streams has carried that much more there and back. */
  async carry(keys: readonly number[], bytes = 64 * 1024): Promise<void> {
    await this.ask({ do: 'carry', keys, bytes });
  }

  async dial(service: string, timeoutMs = 2_000): Promise<Dialled> {
    return (await this.ask({ do: 'dial', service, timeoutMs })) as unknown as Dialled;
  }

  /** Ends the streams that are still there; resolves with how many there were. */
  async finish(): Promise<number> {
    return (await this.ask({ do: 'finish' }))['streams'] as number;
  }

  /** Until the stream has ended by an error; resolves with its code, null if it has none. */
  async broken(key: number): Promise<string | null> {
    const line = await this.child.waitFor(
      `the end of stream ${key}`,
      ({ event, key: of }) => event === 'broken' && of === key,
    );
    return line['code'] as string | null;
  }

  /** As {@link broken}, at the end that serves. */
  async lost(key: number): Promise<string | null> {
    const line = await this.child.waitFor(
      `the end of stream ${key} at the service`,
      ({ event, key: of }) => event === 'lost' && of === key,
    );
    return line['code'] as string | null;
  }

  /** The events of this name so far. */
  events(event: string): Line[] {
    return this.child.lines.filter((line) => line['event'] === event);
  }

  /** What is wrong with its streams or with itself. */
  faults(): unknown[] {
    return [
      ...this.events('wrong'),
      ...this.events('short'),
      ...this.events('text'),
      ...this.child.errors.split('\n'),
    ].filter((fault) => fault !== '');
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Kills the process. */
  stop(): Promise<void> {
    return this.child.stop();
  }

  private async ask(command: Line): Promise<Line> {
    const id = ++this.requests;
    this.child.send({ id, ...command });
    const answer = await this.child.waitFor(`the answer to ${command['do']}`, (line) => line['id'] === id);
    if (answer['failed'] !== undefined) throw new Error(`${command['do']}: ${answer['failed']}`);
    return answer;
  }
}
