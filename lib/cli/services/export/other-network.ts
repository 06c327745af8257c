// The network in which a service is exported: through the node of it that runs on this machine, or one that this process starts for it. When
// the process with that node ends, the next use takes another one.

import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Context } from '../../command.js';
import { ControlClient, ControlOverlay } from '../../control/client.js';
import { ControlSession } from '../../control/session.js';
import { ExitCode, Failure, usage } from '../../failure.js';
import { type ChosenNetwork, chooseNetwork, isThere, type NodeValues } from '../../run/network.js';
import { NodeRun } from '../../run/node-run.js';
import type { Overlay } from '../../run/overlay.js';

/** What other variables say is about the network of the command itself. */
const OF_HOME = ['HOME', 'XDG_DATA_HOME', 'XDG_RUNTIME_DIR', 'PATH'] as const;
/** Flags of the node that this process starts: those of the command are for its own network. */
const NO_FLAGS = {} as NodeValues;

/** A network that is open. */
interface Opened {
  readonly overlay: Overlay;
  close(): Promise<void>;
}

export class OtherNetwork {
  private readonly network: ChosenNetwork;
  private opened: Opened | undefined;
  private opening: Promise<Overlay> | undefined;
  private readonly lost = new Set<() => void>();

  /**
   * @param place a home of the command, as STARLANE_HOME, or a folder of credentials
   * @throws Failure
   */
  constructor(
    place: string,
    private readonly context: Context,
  ) {
    this.network = networkAt(place, context.environment);
  }

  /** What identifies it on this machine. */
  get key(): string {
    return this.network.key;
  }

  /** Calls back, once, when the node that is used has gone. */
  whenLost(onLost: () => void): void {
    this.lost.add(onLost);
  }

  /** Opens it, unless it is open. @throws Failure, or an error with a code */
  overlay(): Promise<Overlay> {
    if (this.opened !== undefined) return Promise.resolve(this.opened.overlay);
    this.opening ??= this.open().finally(() => {
      this.opening = undefined;
    });
    return this.opening;
  }

  async close(): Promise<void> {
    const { opened } = this;
    this.opened = undefined;
    this.lost.clear();
    await opened?.close();
  }

  private async open(): Promise<Overlay> {
    const { network, context } = this;
    const client = new ControlClient(network.home.controlSocket(network.key));
    const session = await ControlSession.open(client.path);
    if (session?.offers === true && !session.ends) {
      const overlay = new ControlOverlay(client, session, () => this.onLost());
      this.opened = { overlay, close: async () => session.close() };
      return overlay;
    }
    session?.close();
    const run = session === undefined ? await NodeRun.start(context, network, NO_FLAGS, { isLeaf: true }) : undefined;
    if (run === undefined) {
      throw new Failure(`the node with ${network.key} ends, or announces nothing; it is tried again`, ExitCode.BUSY);
    }
    this.opened = { overlay: run.overlay, close: () => run.close() };
    return run.overlay;
  }

  private onLost(): void {
    if (this.opened === undefined) return;
    this.opened = undefined;
    const waiting = [...this.lost];
    this.lost.clear();
    for (const onLost of waiting) onLost();
  }
}

/** @throws Failure */
function networkAt(place: string, environment: Context['environment']): ChosenNetwork {
  const folder = resolve(place);
  const fault = (what: string) => new Failure(`--to ${place}: ${what}`, ExitCode.NOT_FOUND);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw fault('there is no such folder');
  const kept = Object.fromEntries(OF_HOME.map((name) => [name, environment[name]]));
  const isHome = existsSync(join(folder, 'networks'));
  const network = isHome
    ? chooseNetwork(NO_FLAGS, { ...kept, STARLANE_HOME: folder })
    : chooseNetwork({ credentials: folder } as NodeValues, environment);
  if (network.credentials === undefined || !isThere(network.credentials)) throw fault('there is no network');
  return network;
}

/** Returns the place as a process in another folder finds it. @throws Failure */
export function absolutePlace(place: string | undefined): string {
  if (place === undefined) throw usage('export: needs --to, the home or the credentials of another network');
  return resolve(place);
}
