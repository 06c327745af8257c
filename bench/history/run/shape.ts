// The processes of a run and the links between them, from a seed: senders reach receivers through relays, by several ways.

import type { Random } from '../../simulation/random.js';

export type Role = 'sender' | 'receiver' | 'relay';

export interface Place {
  readonly name: string;
  readonly role: Role;
}

/** `from` dials `to`, through a proxy of its own. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly tls: boolean;
}

export interface Shape {
  readonly places: readonly Place[];
  readonly edges: readonly Edge[];
  /** Whether the nodes share a secret: then half of the links are TLS, and what passes relays is encrypted from end to end. */
  readonly secret: boolean;
  /** Services, and the receivers that offer them. */
  readonly services: ReadonlyMap<string, readonly string[]>;
}

export interface Sizes {
  readonly senders: number;
  readonly receivers: number;
  readonly relays: number;
}

/** The service of a receiver itself, by its name; that with an inbox of streams; that with an inbox that is iterated. */
export const OWN = (name: string): string => `${name}-own`;
export const STREAMED = (name: string): string => `${name}-streamed`;
export const ITERATED = (name: string): string => `${name}-iterated`;
/** Offered by several receivers. */
export const POOL = 'pool';

export function shapeOf(random: Random, { senders, receivers, relays }: Sizes): Shape {
  const named = (role: Role, letter: string, count: number): Place[] =>
    Array.from({ length: count }, (_, at) => ({ name: `${letter}${at}`, role }));
  const middle = named('relay', 'm', relays);
  const ends = [...named('sender', 's', senders), ...named('receiver', 'r', receivers)];
  const secret = random.next() < 0.5;
  const edges: Edge[] = [];
  const link = (from: string, to: string): void => {
    const isThere = edges.some(
      (edge) => (edge.from === from && edge.to === to) || (edge.from === to && edge.to === from),
    );
    if (from !== to && !isThere) edges.push({ from, to, tls: secret && random.next() < 0.5 });
  };
  // A ring of relays with chords; everybody else at two or three of them, and few at each other.
  middle.forEach(({ name }, at) => {
    link(name, middle[(at + 1) % relays].name);
    if (relays > 3 && random.next() < 0.5) link(name, random.pick(middle).name);
  });
  for (const { name } of ends) {
    for (const relay of random.sample(middle, 2 + random.below(2))) link(name, relay.name);
  }
  link(random.pick(ends.slice(0, senders)).name, random.pick(ends.slice(senders)).name);
  const names = ends.filter(({ role }) => role === 'receiver').map(({ name }) => name);
  const services = new Map<string, readonly string[]>([
    [POOL, names.slice(0, Math.max(2, Math.ceil(names.length / 2)))],
  ]);
  for (const name of names) {
    for (const service of [OWN(name), STREAMED(name), ITERATED(name)]) services.set(service, [name]);
  }
  return { places: [...middle, ...ends], edges, secret, services };
}
