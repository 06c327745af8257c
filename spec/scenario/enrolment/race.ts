// Machines that race for tokens, through two issuers, while all of them die again and again at random steps. What is left in the end is
// counted from the folders alone.

import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { readCredentials } from '../../../lib/identity/credentials.js';
import { createNetwork } from '../../../lib/members/index.js';
import { builtUrl, runProgram } from '../../support/built-lib.js';
import type { Child, Line } from '../../support/child.js';

const HERE = dirname(fileURLToPath(import.meta.url));
const PROGRAMS = Object.fromEntries(
  ['issuer', 'joiner', 'crash-points'].map((name) => [
    name,
    pathToFileURL(join(HERE, name === 'crash-points' ? `${name}.mjs` : `${name}-program.mjs`)).href,
  ]),
);

/** Steps of one joiner, from its key to its folder; and of an issuer until it dies, of which each request has about ten. */
const JOINER_STEPS = 32;
const ISSUER_STEPS = 150;
/** For a process to come up on a machine that is busy. */
const START_MS = 60_000;
/** Processes of joiners at a time. */
const PARALLEL = 3;

export interface RaceOptions {
  /** Twice as many joiners race for them. */
  readonly tokens: number;
  readonly joinersPerProcess: number;
  /** How often each process of joiners dies, and each issuer. */
  readonly joinerDeaths: number;
  readonly issuerDeaths: number;
  readonly seed: number;
}

export interface RaceResult {
  /** Tokens by how many members they have made. */
  readonly membersOfToken: ReadonlyMap<number, number>;
  /** Uses that no member has. */
  readonly lostUses: number;
  readonly deaths: { readonly joiners: number; readonly issuers: number };
  /** Other errors than those that a race may cause. */
  readonly faults: readonly string[];
}

interface Joiner {
  readonly token: number;
  readonly folder: string;
}

export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** An issuer that comes up again when it has died. */
class Issuer {
  deaths = 0;
  private child: Child | undefined;
  private requests = 0;
  private isOver = false;
  private up: Promise<void> = Promise.resolve();

  constructor(
    readonly folder: string,
    readonly address: string,
    private readonly deathsLeft: () => number | undefined,
    private readonly other: () => string,
    private readonly onFault: (error: Error) => void,
  ) {}

  start(): Promise<void> {
    this.up = this.run();
    return this.up;
  }

  /** Tries again when it dies meanwhile: then the token is as if it had not been made, or is never used. */
  async invite(options: object): Promise<string> {
    for (;;) {
      try {
        await this.up;
        return (await this.ask({ do: 'invite', options }))['token'] as string;
      } catch {
        await this.up;
      }
    }
  }

  /** From now on it dies, at some step. */
  async begin(): Promise<void> {
    const after = this.deathsLeft();
    if (after !== undefined) await this.ask({ do: 'crash', after }).catch(() => {});
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await this.child?.stop();
  }

  private async run(): Promise<void> {
    const options = JSON.stringify({ folder: this.folder, listen: this.address });
    const child = runProgram(
      `await import(${JSON.stringify(PROGRAMS['crash-points'])});
       const library = await import(${JSON.stringify(builtUrl('index.js'))});
       const { issuer } = await import(${JSON.stringify(PROGRAMS['issuer'])});
       await issuer(library, ${options}, say);`,
    );
    this.child = child;
    await child.waitFor('an issuer', ({ event }) => event === 'listening', START_MS);
    const other = this.other();
    if (other !== '') await this.ask({ do: 'join', address: other }).catch(() => {});
    void child.exited.then(() => {
      if (this.isOver) return;
      this.deaths++;
      this.start().then(
        () => this.begin(),
        (error) => this.onFault(error),
      );
    });
  }

  private async ask(command: Line): Promise<Line> {
    const { child } = this;
    if (child === undefined) throw new Error('it has not begun');
    const id = ++this.requests;
    child.send({ id, ...command });
    const answer = await child.waitFor(`the answer to ${command['do']}`, (line) => line['id'] === id, START_MS);
    if (answer['failed'] !== undefined) throw new Error(`${answer['failed']}`);
    return answer;
  }
}

export async function race(options: RaceOptions): Promise<RaceResult> {
  const root = mkdtempSync(join(tmpdir(), 'enrolment-race-'));
  try {
    return await raceIn(root, options);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function raceIn(root: string, options: RaceOptions): Promise<RaceResult> {
  const { tokens, joinersPerProcess, joinerDeaths, issuerDeaths, seed } = options;
  const random = randomOf(seed);
  const folders = [join(root, 'first'), join(root, 'second')];
  createNetwork(folders[0], { name: 'first' });
  const budget = [issuerDeaths, issuerDeaths];
  const deathOf = (index: number) => () => (budget[index]-- > 0 ? random(ISSUER_STEPS) : undefined);
  const issuers: Issuer[] = [];
  const faults: string[] = [];
  let onFault: (error: Error) => void = () => {};
  const broken = new Promise<never>((_, reject) => {
    onFault = reject;
  });
  broken.catch(() => {});
  // Not of those that the system gives to connections, or a joiner could take that of an issuer which is just down.
  const port = 10_000 + random(20_000);
  const [here, there] = [`tls://127.0.0.1:${port}`, `tls://127.0.0.1:${port + 1}`];
  const first = new Issuer(folders[0], here, deathOf(0), () => issuers[1]?.address ?? '', onFault);
  issuers.push(first);
  try {
    await first.start();
    await makeSecond(first, folders);
    const second = new Issuer(folders[1], there, deathOf(1), () => first.address, onFault);
    issuers.push(second);
    await second.start();

    const texts: string[] = [];
    for (let index = 0; index < tokens; index++) {
      const issuer = issuers[index % 2];
      const addresses = [issuers[random(2)].address, issuers[random(2)].address];
      texts.push(await issuer.invite({ name: `member-${index}`, expiresInMs: 3_600_000, addresses }));
    }
    // The two rivals for a token are in different processes.
    const joiners: Joiner[] = [0, 1].flatMap((rival) =>
      texts.map((_, token) => ({ token, folder: join(root, `m${token}-${rival}`) })),
    );
    const groups: Joiner[][] = [];
    for (let at = 0; at < joiners.length; at += joinersPerProcess)
      groups.push(joiners.slice(at, at + joinersPerProcess));
    const order = groups
      .map((group) => ({ group, rank: random(1_000_000) }))
      .sort((one, other) => one.rank - other.rank);
    await Promise.all(issuers.map((issuer) => issuer.begin()));
    let deaths = 0;
    const work = order.map(({ group }) => group);
    const worker = async (): Promise<void> => {
      for (let group = work.pop(); group !== undefined; group = work.pop()) {
        const more = await runGroup(group, texts, joinerDeaths, random, faults);
        deaths += more;
      }
    };
    await Promise.race([Promise.all(Array.from({ length: PARALLEL }, worker)), broken]);
    return {
      ...count(joiners, tokens, folders, faults),
      deaths: { joiners: deaths, issuers: first.deaths + second.deaths },
      faults,
    };
  } finally {
    await Promise.all(issuers.map((issuer) => issuer.stop()));
  }
}

/** A member that may issue, with a copy of the key of the authority. */
async function makeSecond(first: Issuer, [from, to]: readonly string[]): Promise<void> {
  const token = await first.invite({ name: 'second', rights: { issue: true } });
  const child = runJoiners([{ token: 0, folder: to }], [token], null);
  await child.waitFor('the second issuer', ({ event }) => event === 'done', START_MS);
  await child.stop();
  copyFileSync(join(from, 'authority.key'), join(to, 'authority.key'));
}

/** Runs joiners until each is settled. Returns how often their process has died. */
async function runGroup(
  group: readonly Joiner[],
  texts: readonly string[],
  maxDeaths: number,
  random: (below: number) => number,
  faults: string[],
): Promise<number> {
  for (let deaths = 0; ; deaths++) {
    const crash = deaths < maxDeaths ? random(JOINER_STEPS * group.length) : null;
    const child = runJoiners(group, texts, crash);
    const outcome = await child.exited;
    faults.push(...child.lines.filter(isFault).map((line) => JSON.stringify(line)));
    if (outcome !== 'SIGKILL') {
      if (outcome !== 0) faults.push(`exit ${outcome}: ${child.errors}`);
      return deaths;
    }
  }
}

function runJoiners(group: readonly Joiner[], texts: readonly string[], crash: number | null): Child {
  const joiners = group.map(({ token, folder }) => ({ folder, token: texts[token] }));
  return runProgram(
    `await import(${JSON.stringify(PROGRAMS['crash-points'])});
     const members = await import(${JSON.stringify(builtUrl('members/index.js'))});
     const { join } = await import(${JSON.stringify(PROGRAMS['joiner'])});
     await join(members, ${JSON.stringify({ joiners, crash })}, say);`,
  );
}

/** An issuer that is down is what a race may cause; everything else is not. */
function isFault({ event, code }: Line): boolean {
  return event === 'failed' && code !== 'ERR_STARLANE_ENROLMENT';
}

function count(
  joiners: readonly Joiner[],
  tokens: number,
  issuers: readonly string[],
  faults: string[],
): Pick<RaceResult, 'membersOfToken' | 'lostUses'> {
  const membersOf = new Array<number>(tokens).fill(0);
  const keys = new Set<string>();
  for (const { token, folder } of joiners) {
    if (!existsSync(folder)) continue;
    const { member } = readCredentials(folder);
    if (member.name !== `member-${token}`) faults.push(`${folder} is ${member.name}`);
    membersOf[token]++;
    keys.add(Buffer.from(member.publicKey).toString('base64url'));
  }
  let lostUses = 0;
  for (const issuer of issuers) {
    const folder = join(issuer, 'invitations');
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      if (!/\.\d+$/.test(name)) continue;
      if (!keys.has(readFileSync(join(folder, name), 'utf8').trim())) lostUses++;
    }
  }
  const membersOfToken = new Map<number, number>();
  for (const members of membersOf) membersOfToken.set(members, (membersOfToken.get(members) ?? 0) + 1);
  return { membersOfToken, lostUses };
}
