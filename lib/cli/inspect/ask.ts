// Asks the node of this machine, or through it any other node. Where none runs, one is started for as long as the question takes.

import type { AnswerPath, Answers } from '../../node/queries/answers.js';
import type { PingAnswer, TraceAnswer } from '../../node/queries/client.js';
import type { Context } from '../command.js';
import { ControlClient } from '../control/client.js';
import { flag, pairOf } from '../flags.js';
import { chooseNetwork, DEFAULT_TIMEOUT_MS } from '../run/network.js';
import { type Access, nodeValues, useNetwork } from '../run/use-network.js';

/** For commands that can ask another node than that of this machine. */
export const NODE_FLAG = {
  node: flag.text('ask this node: @id, the name of a member, or a service', { value: 'NODE', otherwise: 'this one' }),
} as const;

type WithQuery = AnswerPath | `${AnswerPath}?${string}`;
type Bare<Path extends string> = Path extends `${infer Resource}?${string}` ? Resource : Path;
type AnswerOf<Path extends WithQuery> = Bare<Path> extends AnswerPath ? Answers[Bare<Path>] : never;

/** How long a node that has just started may take for its first sync. */
const SETTLE_MS = 3_000;
const POLL_MS = 50;
/** It has heard everything when nothing came for so many polls. */
const QUIET_POLLS = 4;

export class Asker {
  constructor(
    readonly client: ControlClient,
    private readonly timeoutMs: number,
  ) {}

  /** Asks a node about itself: `target` undefined for the node of this machine. */
  async ask<const Path extends WithQuery>(path: Path, target?: string): Promise<AnswerOf<Path>> {
    if (target === undefined) return (await this.client.get(path, this.timeoutMs)) as AnswerOf<Path>;
    return (await this.call('query', { target, path })) as AnswerOf<Path>;
  }

  async ping(target: string, samples: number): Promise<PingAnswer> {
    return (await this.call('ping', { target, samples: String(samples) })) as PingAnswer;
  }

  async trace(target: string): Promise<TraceAnswer> {
    return (await this.call('trace', { target })) as TraceAnswer;
  }

  private call(what: string, parameters: Record<string, string>): Promise<unknown> {
    const query = new URLSearchParams({ ...parameters, timeout: String(this.timeoutMs) });
    // The node gives up first, and says why.
    return this.client.get(`/control/${what}?${query}`, this.timeoutMs + 1_000);
  }
}

/** Asks, with the node that runs or with one for this purpose. @throws Failure, or an error with a code */
export function withAsker<T>(context: Context, ask: (asker: Asker) => Promise<T>): Promise<T> {
  return withAccess(context, ask);
}

/** As {@link withAsker}, for commands that dial as well. */
export async function withAccess<T>(context: Context, ask: (asker: Asker, access: Access) => Promise<T>): Promise<T> {
  const values = nodeValues(context);
  const access = await useNetwork(context, { needsLink: true, isClient: true });
  try {
    const network = chooseNetwork(values, context.environment);
    const client = new ControlClient(network.home.controlSocket(network.key));
    const asker = new Asker(client, values.timeout ?? DEFAULT_TIMEOUT_MS);
    if (access.run !== undefined) await settled(asker);
    return await ask(asker, access);
  } finally {
    await access.close();
  }
}

/** Waits until a node that has just started has heard what its neighbours know. */
async function settled(asker: Asker): Promise<void> {
  const untilMs = performance.now() + SETTLE_MS;
  let before = '';
  let quiet = 0;
  while (quiet < QUIET_POLLS && performance.now() < untilMs) {
    const { mesh, services } = await asker.ask('/v1/stats');
    const now = `${mesh.records} ${mesh.nodes} ${services.instances}`;
    quiet = now === before ? quiet + 1 : 0;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One page of a list. */
interface Page<Entry> {
  readonly entries: readonly Entry[];
  readonly next?: string | undefined;
}

const PAGE = '20000';

/** Returns all pages of a list, as far as memory goes: tables are sorted and aligned. */
export async function everyPage<Entry>(
  search: URLSearchParams,
  read: (query: string) => Promise<Page<Entry>>,
): Promise<Entry[]> {
  const found: Entry[] = [];
  const query = new URLSearchParams(search);
  query.set('limit', PAGE);
  for (;;) {
    const { entries, next } = await read(query.toString());
    for (const entry of entries) found.push(entry);
    if (next === undefined) return found;
    query.set('after', next);
  }
}

/** Adds what `--meta KEY=VALUE` says. @throws Failure */
export function putMeta(search: URLSearchParams, given: readonly string[], where: string): void {
  for (const text of given) {
    const [key, value] = pairOf(`${where}: --meta`, text, 'KEY=VALUE');
    search.append(`meta.${key}`, value);
  }
}

/** Returns a name for people, or the id. */
export function nameOf({ id, name }: { readonly id: string; readonly name?: string | undefined }): string {
  return name === undefined || name === '' ? id : name;
}

/** Returns ms with a digit or two behind the point. */
export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-';
  return value.toFixed(value < 10 ? 2 : 1);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Returns a number of bytes for people: `1.5 MiB`. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-';
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${UNITS[unit]}`;
}

/** Returns a span of time for people: `3.2 s`, `5 min`, `2 h`. */
export function span(valueMs: number): string {
  if (valueMs < 1_000) return `${Math.round(valueMs)} ms`;
  if (valueMs < 60_000) return `${(valueMs / 1_000).toFixed(1)} s`;
  if (valueMs < 3_600_000) return `${Math.round(valueMs / 60_000)} min`;
  if (valueMs < 48 * 3_600_000) return `${Math.round(valueMs / 3_600_000)} h`;
  return `${Math.round(valueMs / 86_400_000)} d`;
}
