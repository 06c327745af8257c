// Exports one service of a network to another one, for as long as it runs.

import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_MAX_CIRCUITS } from '../../../messages/export/export-service.js';
import { addressOf, exportedName, exportMeta } from '../../../messages/export/offered.js';
import { type ExportBind, ServiceExport } from '../../../messages/export/service-export.js';
import type { Context } from '../../command.js';
import { ExitCode, Failure, lineOf, usage } from '../../failure.js';
import { flag, type ValuesOf } from '../../flags.js';
import type { OverlaySocket } from '../../run/overlay.js';
import type { NodeWork, Task, TaskHost } from '../../run/task.js';
import { metaOf } from '../publish/options.js';
import { absolutePlace, OtherNetwork } from './other-network.js';

export const EXPORT_FLAGS = {
  to: flag.text('the other network: a home of the command (STARLANE_HOME) or a folder of credentials', {
    value: 'HOME',
  }),
  as: flag.text('the name in the other network', { value: 'NAME', otherwise: 'the same' }),
  allow: flag.list('names of members of the other network that may dial, with asterisks', {
    value: 'PATTERN',
    otherwise: 'everyone',
  }),
  allowTag: flag.list('tags of members of the other network that may dial, with asterisks', {
    value: 'PATTERN',
    otherwise: 'everyone',
  }),
  weight: flag.integer('the share of dials, relative to other instances; 0 as the last resort', {
    min: 0,
    max: 255,
    otherwise: '1',
  }),
  instance: flag.text('the name of this instance, which is dialled as INSTANCE.NAME', { value: 'INSTANCE' }),
  meta: flag.list('what members of the other network see with the service', { value: 'KEY=VALUE' }),
  maxCircuits: flag.integer('how many circuits may be open', {
    min: 1,
    max: 1_000_000,
    otherwise: String(DEFAULT_MAX_CIRCUITS),
  }),
} as const;

export type ExportValues = ValuesOf<typeof EXPORT_FLAGS>;

const LONGEST_DRAIN_MS = 2_147_483_647;

export class ExportTask implements Task {
  readonly title: string;
  readonly nodeWork: NodeWork;
  private readonly other: OtherNetwork;
  private readonly values: ExportValues;
  private made: ServiceExport | undefined;

  /** @throws Failure */
  constructor(
    private readonly service: string,
    values: ExportValues,
    context: Context,
  ) {
    const where = `export ${service}`;
    this.values = { ...values, to: absolutePlace(values.to) };
    // What is wrong with it is an error of the command line, or of the file.
    try {
      exportedName('SERVICE', service);
      if (values.as !== undefined) exportedName('--as', values.as);
    } catch (error) {
      throw usage(`${where}: ${lineOf(error)}`);
    }
    metaOf(values.meta, where);
    this.other = new OtherNetwork(this.values.to as string, context);
    this.title = `${where} to ${this.values.to}`;
    this.nodeWork = { command: 'export', key: service, values: this.values };
  }

  async start({ overlay, log }: TaskHost): Promise<void> {
    const { node } = overlay;
    if (node === undefined) throw new Error('an export needs the node of its service');
    const { service, values, other, title } = this;
    const to = await other.overlay();
    if (to.id === node.id) throw new Failure(`${title}: that is the network of the service itself`, ExitCode.USAGE);
    const name = exportedName('service', service);
    const as = addressOf(values.as === undefined ? name : exportedName('as', values.as));
    const { weight, instance, allow, allowTag } = values;
    const options = { weight, instance, allow, allowTag, meta: exportMeta(metaOf(values.meta, title)) };
    const bind: ExportBind = async (prepare, onCircuit, onLost) => {
      const there = await other.overlay();
      other.whenLost(onLost);
      return there.bind(as, { ...options, prepare }, (circuit: OverlaySocket, inner) => onCircuit(circuit, inner));
    };
    const made = new ServiceExport(node, name, values.maxCircuits ?? DEFAULT_MAX_CIRCUITS, bind);
    this.made = made;
    made.on('offer', () => log.info(`${title}: offered as ${as}`));
    made.on('withdraw', () => log.info(`${title}: offered no more`));
    made.on('warning', (error) => log.warn(`${title}: ${lineOf(error)}`));
    if (!made.isOffered && !node.serviceMap().has(name.service)) log.info(`${title}: waits for the service`);
  }

  async update(next: Task): Promise<boolean> {
    return next instanceof ExportTask && isDeepStrictEqual(next.values, this.values);
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { made, other } = this;
    if (made !== undefined) {
      const end = () => void made.close({ timeoutMs: 0 });
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
      await made.close({ timeoutMs: LONGEST_DRAIN_MS });
    }
    await other.close();
  }

  status(): Record<string, unknown> {
    const { made, values, service } = this;
    const { offered, ...counts } = made?.stats() ?? { offered: false };
    return { to: values.to, as: values.as ?? service, state: offered ? 'exported' : 'waiting', ...counts };
  }
}
