// The faults of a run, from a seed: what, to whom, when, for how long. Pure.

import type { Random } from '../../simulation/random.js';
import type { FaultKind } from '../events.js';
import type { Role, Shape } from './shape.js';

interface Common {
  /** When it begins, in ms since the traffic began. */
  readonly at: number;
  /** How long it lasts. A process that was killed starts again after it. */
  readonly forMs: number;
}

export type Fault = Common &
  (
    | {
        readonly kind: 'cut' | 'silence';
        readonly edge: number /** Whether a silent link is cut at its end. */;
        readonly cuts: boolean;
      }
    | { readonly kind: 'isolate'; readonly place: string }
    | {
        readonly kind: 'stop';
        readonly place: string /** Whether it is killed instead of continued. */;
        readonly kills: boolean;
      }
    | { readonly kind: 'kill' | 'restart'; readonly place: string; readonly sameIdentity: boolean }
  );

export interface PlanOptions {
  readonly faults: number;
  /** Between two faults, in the mean. */
  readonly everyMs: number;
}

interface Kind {
  readonly kind: FaultKind;
  readonly share: number;
}

const KINDS: readonly Kind[] = [
  { kind: 'cut', share: 31 },
  { kind: 'isolate', share: 6 },
  { kind: 'silence', share: 16 },
  { kind: 'kill', share: 20 },
  { kind: 'stop', share: 20 },
  { kind: 'restart', share: 7 },
];

/** What also a short plan has, in any order. */
const FIRST: ReadonlyArray<readonly [kind: FaultKind, role?: Role]> = [
  ['cut'],
  ['silence'],
  ['isolate', 'receiver'],
  ['kill', 'receiver'],
  ['kill', 'relay'],
  ['kill', 'sender'],
  ['stop', 'receiver'],
  ['stop', 'relay'],
  ['restart', 'receiver'],
];

/** How long a process takes to be there again, about. */
const START_MS = 1_500;
/** Most faults are short, few outlast what a node bears with: keep-alive, sessions, timeouts. */
const SHORT_MS = 800;
const LONG_MS = 9_000;
const LONG_SHARE = 0.15;

export function planOf(random: Random, { places, edges }: Shape, { faults, everyMs }: PlanOptions): Fault[] {
  const plan: Fault[] = [];
  const first = random.sample(FIRST, FIRST.length);
  // A process or link has one fault at a time.
  const busy = new Map<string | number, number>();
  let at = 0;
  while (plan.length < faults) {
    at += random.exponential(everyMs);
    const [kind, role] = first[plan.length] ?? [pickKind(random)];
    const isLink = kind === 'cut' || kind === 'silence';
    const target = isLink ? random.below(edges.length) : pickPlace(random, kind, places, role);
    const fault = faultOf(random, kind, target, Math.round(at));
    if ((busy.get(target) ?? 0) > at) continue;
    const endsProcess = kind === 'kill' || kind === 'restart' || (fault.kind === 'stop' && fault.kills);
    busy.set(target, at + fault.forMs + (endsProcess ? START_MS : 0));
    plan.push(fault);
  }
  return plan;
}

function pickKind(random: Random): FaultKind {
  let rest = random.below(KINDS.reduce((sum, { share }) => sum + share, 0));
  for (const { kind, share } of KINDS) {
    if (rest < share) return kind;
    rest -= share;
  }
  return 'cut';
}

/** Senders are killed less often: each takes its open sends with it. */
function pickPlace(random: Random, kind: FaultKind, places: Shape['places'], wanted: Role | undefined): string {
  for (;;) {
    const { name, role } = random.pick(places);
    if (wanted !== undefined) {
      if (role === wanted) return name;
    } else if (role !== 'sender' || kind === 'isolate' || kind === 'stop' || random.next() < 0.4) return name;
  }
}

function faultOf(random: Random, kind: FaultKind, target: string | number, at: number): Fault {
  const isLong = kind !== 'cut' && random.next() < LONG_SHARE;
  const forMs = Math.round(isLong ? random.between(SHORT_MS, LONG_MS) : random.between(20, SHORT_MS));
  const common = { at, forMs };
  switch (kind) {
    case 'cut':
    case 'silence':
      return { ...common, kind, edge: target as number, cuts: random.next() < 0.5 };
    case 'isolate':
      return { ...common, kind, place: target as string };
    case 'stop':
      return { ...common, kind, place: target as string, kills: random.next() < 0.15 };
    case 'kill':
    case 'restart':
      return { ...common, kind, place: target as string, sameIdentity: random.next() < 0.7 };
  }
}
