// One job: its process, its output, its input, its limits and its end.

import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { codeOf, type ErrorCode, starlaneError } from '../../../errors.js';
import { Deadline } from '../../../util/deadline.js';
import type { Timers } from '../../../util/timers.js';
import type { ProgramEnd } from '../../services/publish/restarts.js';
import type { JobCommand, JobProgram } from './declared.js';
import { FrameKind, type OutputKind } from './frames.js';
import { type InputState, JobInput } from './input.js';
import type { OutputLog, OutputReader } from './output-log.js';
import type { JobProcess, startProcess } from './process.js';
import type { JobEnd, JobEndKind, JobRecord, JobStatus } from './record.js';
import type { JobStore } from './store.js';

/** How long the output of a program that has ended may be silent before it counts as ended: somebody else may hold it open. */
export const SILENCE_MS = 1_000;

export interface JobPorts {
  readonly store: JobStore;
  readonly timers: Timers;
  /** Since 1970. */
  readonly now: () => number;
  readonly startProcess: typeof startProcess;
  readonly onEnded: (job: Job) => void;
  readonly warn: (text: string) => void;
}

export class Job {
  private process: JobProcess | undefined;
  private input: JobInput | undefined;
  private log: OutputLog | undefined;
  /** Why it is being stopped. */
  private reason: JobEnd | undefined;
  private readonly timeLimit: Deadline;
  private readonly listeners = new Set<() => void>();
  /** Whether the end is not on the disk yet. */
  private isUnsaved = false;

  constructor(
    private current: JobRecord,
    private readonly ports: JobPorts,
  ) {
    this.timeLimit = new Deadline(ports.timers, () => this.stop('timed-out', 'it has taken longer than it may'));
  }

  get record(): JobRecord {
    return this.current;
  }

  get id(): string {
    return this.current.id;
  }

  get hasEnded(): boolean {
    return this.current.state === 'ended';
  }

  /** Bytes of its output. */
  get outputBytes(): number {
    return this.current.outputBytes ?? this.log?.bytes ?? 0;
  }

  get status(): JobStatus {
    const { process: _process, ...record } = this.current;
    const { position, open } = this.input?.state ?? { position: 0, open: record.input && !this.hasEnded };
    return { ...record, outputBytes: this.outputBytes, inputBytes: position, inputOpen: open };
  }

  /**
   * Writes the job down, and starts its program. Resolves when it runs, or cannot be started, which is an end like others.
   * @throws as node:fs when it cannot be written down; then it was not started
   */
  async start(command: JobCommand, program: JobProgram): Promise<void> {
    const { store, startProcess, timers, warn } = this.ports;
    // On the disk first: a job that may have run must be known after any crash.
    const log = await store.create(this.current);
    this.log = log;
    log.onError = (error) => this.stop('output-limit', `its output cannot be kept: ${error.message}`);
    log.onGrowth(() => this.changed());
    let started: JobProcess;
    try {
      started = await startProcess(command, program, this.current.input);
    } catch (error) {
      const why = codeOf(error) === 'ENOENT' ? 'the program is missing' : (error as Error).message;
      await this.finish({ kind: 'not-started', error: { code: 'ERR_STARLANE_JOB', message: why } });
      return;
    }
    this.process = started;
    this.current = { ...this.current, state: 'running', process: started.identity };
    this.timeLimit.set(command.timeoutMs);
    if (started.stdin !== null) {
      this.input = new JobInput(started.stdin, timers, command.inputMs, () =>
        this.stop('input-lost', 'its caller has gone before the end of its input'),
      );
    }
    const outputs = [
      this.collect(started.stdout, FrameKind.STDOUT, command.maxOutputBytes),
      this.collect(started.stderr, FrameKind.STDERR, command.maxOutputBytes),
    ];
    log.onDrain = () => {
      for (const { stream } of outputs) stream.resume();
    };
    if (this.reason !== undefined) started.stop();
    void started.ended.then(async (end) => {
      this.timeLimit.clear();
      this.input?.close();
      await Promise.all(outputs.map((output) => output.complete()));
      await this.finish(this.endFor(end));
    });
    try {
      await store.write(this.current);
    } catch (error) {
      warn(`job ${this.id}: ${(error as Error).message}`);
    }
    this.changed();
  }

  /** Ends it for a reason. Does nothing when it ends already. */
  stop(kind: JobEndKind, message: string): void {
    if (this.hasEnded || this.reason !== undefined) return;
    const code: ErrorCode = kind === 'lost' ? 'ERR_STARLANE_JOB_LOST' : 'ERR_STARLANE_JOB';
    this.reason = { kind, error: { code, message } };
    this.process?.stop();
  }

  /** Kills what is being stopped. */
  kill(): void {
    if (!this.hasEnded && this.reason !== undefined) this.process?.kill();
  }

  /** Takes a piece of its input. @throws as {@link JobInput.take}; ERR_STARLANE_JOB when it has none */
  async takeInput(from: number, data: Buffer, isLast: boolean): Promise<InputState> {
    if (this.hasEnded) return { position: this.input?.state.position ?? 0, open: false };
    if (this.input === undefined) throw starlaneError('ERR_STARLANE_JOB', `the job ${this.id} takes no input`);
    return this.input.take(from, data, isLast);
  }

  /** Returns a reader of its output. */
  read(from: number): OutputReader {
    return this.log?.read(from) ?? this.ports.store.readOutput(this.id, from);
  }

  /** Calls back when there is more output, or its state has changed. Returns what ends that. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Writes its end down if that has failed before. */
  async save(): Promise<void> {
    if (!this.isUnsaved) return;
    try {
      await this.ports.store.write(this.current);
      this.isUnsaved = false;
    } catch (error) {
      this.ports.warn(`job ${this.id}: its end cannot be written: ${(error as Error).message}`);
    }
  }

  private endFor({ code, signal }: ProgramEnd): JobEnd {
    const { reason } = this;
    const how = { ...(code === null ? {} : { exitCode: code }), ...(signal === null ? {} : { signal }) };
    if (reason !== undefined) return { ...reason, ...how };
    return { kind: code === null ? 'signalled' : 'exited', ...how };
  }

  private async finish(end: JobEnd): Promise<void> {
    const { ports, log } = this;
    await log?.close();
    this.current = {
      ...this.current,
      state: 'ended',
      endedMs: ports.now(),
      end,
      outputBytes: log?.written ?? 0,
    };
    this.isUnsaved = true;
    await this.save();
    this.changed();
    ports.onEnded(this);
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** Keeps an output, up to the limit. */
  private collect(stream: Readable, kind: OutputKind, limit: number): { stream: Readable; complete(): Promise<void> } {
    const log = this.log as OutputLog;
    const { timers } = this.ports;
    let isOpen = true;
    let isPaused = false;
    let hasExited = false;
    const closed = once(stream, 'close').then(() => {
      isOpen = false;
      silence.clear();
    });
    closed.catch(() => {});
    const silence = new Deadline(timers, () => {
      if (isPaused) silence.set(SILENCE_MS);
      else stream.destroy();
    });
    stream.on('error', () => {});
    stream.on('data', (data: Buffer) => {
      if (hasExited) silence.set(SILENCE_MS);
      const room = limit - log.bytes;
      if (data.length > room) this.stop('output-limit', `it has written more than ${limit} bytes`);
      // What comes behind the limit is read all the same: the program shall be able to end.
      if (room > 0 && !log.append(kind, data.subarray(0, room))) {
        isPaused = true;
        stream.pause();
      }
    });
    stream.on('resume', () => {
      isPaused = false;
    });
    return {
      stream,
      complete: async () => {
        hasExited = true;
        if (isOpen) silence.set(SILENCE_MS);
        await closed;
      },
    };
  }
}
