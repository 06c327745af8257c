// A task that needs the node itself, where another process of this machine has it: that process does the work, for as long as this one runs.

import type { ControlClient } from '../control/client.js';
import { HostedRequest } from '../control/hosting.js';
import { ExitCode, Failure } from '../failure.js';
import type { NodeWork, Task, TaskHost } from './task.js';

export class HostedTask implements Task {
  readonly title: string;
  private request: HostedRequest | undefined;

  constructor(
    private readonly client: ControlClient,
    work: NodeWork,
    title: string,
  ) {
    this.title = title;
    this.work = work;
  }

  private readonly work: NodeWork;

  async start({ fail }: TaskHost): Promise<void> {
    this.request = await HostedRequest.open(this.client, this.work, (error) =>
      fail(error ?? new Failure('the process with the node has ended', ExitCode.UNREACHABLE)),
    );
  }

  async stop(): Promise<void> {
    this.request?.close();
  }

  status(): Readonly<Record<string, unknown>> {
    return this.request?.status ?? {};
  }
}
