// Network namespaces around a router: every member of the network has its own address, and the router can lose what
// goes from one to another, silently and in one direction, as a broken path does.

import { execFileSync } from 'node:child_process';
import { describeUnless, type Obstacle } from '../support/obstacle.js';

let made = 0;
const there = new Set<Namespaces>();

// A spec that is aborted leaves nothing behind.
process.once('exit', () => {
  for (const namespaces of there) namespaces.remove();
});

/** `command`: words that spaces separate. */
function ip(command: string): void {
  execFileSync('ip', command.split(' '), { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
}

export class Namespaces {
  private readonly prefix = `starlane${process.pid}n${++made}`;
  private readonly router = this.spaceOf('router');
  private readonly spaces: string[] = [];

  /** One namespace for each of the members, and the router between them. */
  constructor(private readonly members: readonly string[]) {
    there.add(this);
    try {
      this.addSpace(this.router);
      const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
      execFileSync('ip', ['netns', 'exec', this.router, 'sh', '-c', forward], { stdio: 'pipe' });
      for (const member of members) this.addMember(member);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  addressOf(member: string): string {
    return `${this.subnet(member)}.2`;
  }

  /** The prefix that runs a command inside a namespace. */
  enter(member: string): string[] {
    return ['ip', 'netns', 'exec', this.spaceOf(member)];
  }

  /** From now on nothing that one sends arrives at the other, and neither is notified. */
  cut(from: string, to: string): void {
    ip(`-n ${this.router} rule add ${this.flow(from, to)}`);
  }

  heal(from: string, to: string): void {
    ip(`-n ${this.router} rule del ${this.flow(from, to)}`);
  }

  /** Everything sent to a member is lost on the way, from any sender. */
  silence(member: string): void {
    ip(`-n ${this.router} route add blackhole ${this.addressOf(member)}`);
  }

  unsilence(member: string): void {
    ip(`-n ${this.router} route del blackhole ${this.addressOf(member)}`);
  }

  remove(): void {
    there.delete(this);
    for (const space of this.spaces.splice(0)) ip(`netns del ${space}`);
  }

  private addSpace(space: string): void {
    ip(`netns add ${space}`);
    this.spaces.push(space);
    ip(`-n ${space} link set lo up`);
  }

  private addMember(member: string): void {
    const gateway = `${this.subnet(member)}.1`;
    const port = portOf(member);
    const space = this.spaceOf(member);
    this.addSpace(space);
    ip(`-n ${this.router} link add ${port} type veth peer name eth0 netns ${space}`);
    ip(`-n ${this.router} addr add ${gateway}/30 dev ${port}`);
    ip(`-n ${this.router} link set ${port} up`);
    ip(`-n ${space} addr add ${this.addressOf(member)}/30 dev eth0`);
    ip(`-n ${space} link set eth0 up`);
    ip(`-n ${space} route add default via ${gateway}`);
  }

  private flow(from: string, to: string): string {
    return `iif ${portOf(from)} to ${this.addressOf(to)} blackhole`;
  }

  private spaceOf(member: string): string {
    return `${this.prefix}-${member}`;
  }

  /** Of the addresses for tests of network devices (RFC 2544), which are not in use elsewhere. */
  private subnet(member: string): string {
    return `198.18.${this.members.indexOf(member) + 1}`;
  }
}

/** The interface of the router that leads to a member. */
function portOf(member: string): string {
  return `to-${member}`;
}

/** Why there can be no namespaces here; undefined when there can. */
function obstacle(): Obstacle | undefined {
  if (process.platform !== 'linux') return { reason: 'network namespaces need Linux', isMissing: false };
  try {
    const trial = new Namespaces(['a', 'b']);
    trial.cut('a', 'b');
    trial.silence('b');
    trial.remove();
    return undefined;
  } catch (error) {
    const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') return { reason: 'ip missing: apt-get install iproute2', isMissing: true };
    return { reason: (stderr || message).trim(), isMissing: false };
  }
}

/** Declares specs that need network namespaces: Linux, the privilege to make them, and a kernel that has them. */
export function describeWithNamespaces(title: string, specs: () => void): void {
  describeUnless(obstacle(), title, specs);
}
