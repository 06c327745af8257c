// What `starlane doctor` looks at. Each check says what it found, and what to do where something is wrong.

import { lookup } from 'node:dns/promises';
import { readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { release } from 'node:os';
import { parseLinkAddress } from '../../address.js';
import { readCredentials } from '../../identity/credentials.js';
import type { ReadyAnswer } from '../../node/queries/answers.js';
import { VERSION } from '../../util/version.js';
import { lineOf } from '../failure.js';
import { type Asker, ms, span } from './ask.js';

export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'warning' | 'fault';
  readonly found: string;
  /** What to do. */
  readonly advice?: string;
}

/** A clock that differs by more spoils certificates and tokens soon; by this much, it is worth a look. */
const CLOCK_WARNING_MS = 2_000;
const CLOCK_FAULT_MS = 5 * 60_000;
const CONNECT_MS = 5_000;
/** Peers that are asked for their version and their time. */
const MAX_PEERS = 8;
/** What IPv6 guarantees (RFC 8200, section 5). */
const MIN_MTU = 1_280;
const COMFORTABLE_FILES = 4_096;

export async function systemFindings(): Promise<Finding[]> {
  const found: Finding[] = [];
  found.push({
    check: 'versions',
    level: 'ok',
    found: `starlane ${VERSION}, Node ${process.versions.node}, ${process.platform} ${release()} ${process.arch}`,
  });
  const mtus = mtusOf();
  if (mtus.length > 0) {
    const [name, mtu] = mtus.reduce((least, next) => (next[1] < least[1] ? next : least));
    found.push({
      check: 'mtu',
      level: mtu < MIN_MTU ? 'warning' : 'ok',
      found: mtus.map(([of, value]) => `${of} ${value}`).join(', '),
      ...(mtu < MIN_MTU
        ? { advice: `${name} carries packets of ${mtu} bytes only; see whether transfers over it hang` }
        : {}),
    });
  }
  const files = openFiles();
  if (files !== undefined) {
    const isFew = files < COMFORTABLE_FILES;
    found.push({
      check: 'open files',
      level: isFew ? 'warning' : 'ok',
      found: `up to ${files}`,
      ...(isFew ? { advice: 'raise the limit (ulimit -n, LimitNOFILE): each forwarded connection needs one' } : {}),
    });
  }
  return found;
}

/** Returns the interfaces that are up and their MTUs, without the one that leads to this machine itself. Linux only. */
function mtusOf(): Array<[string, number]> {
  try {
    const names = readFileSync('/proc/net/dev', 'utf8')
      .split('\n')
      .flatMap((line) => /^\s*([^:\s]+):/.exec(line)?.[1] ?? [])
      .filter((name) => name !== 'lo');
    return names.flatMap((name): Array<[string, number]> => {
      const folder = `/sys/class/net/${name}`;
      if (readFileSync(`${folder}/operstate`, 'utf8').trim() === 'down') return [];
      return [[name, Number(readFileSync(`${folder}/mtu`, 'utf8'))]];
    });
  } catch {
    return [];
  }
}

function openFiles(): number | undefined {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return match === null ? undefined : Number(match[1]);
  } catch {
    return undefined;
  }
}

/** Looks at a folder of credentials. Returns the addresses that it names as well. */
export function credentialFindings(folder: string, nowMs: number): { findings: Finding[]; seeds: readonly string[] } {
  try {
    const { member, seeds } = readCredentials(folder);
    const leftMs = member.notAfterMs - nowMs;
    const lifeMs = member.notAfterMs - member.notBeforeMs;
    const who = `${member.name}, ${leftMs > 0 ? `valid for ${span(leftMs)}` : `expired ${span(-leftMs)} ago`}`;
    const findings: Finding[] = [];
    if (member.notBeforeMs > nowMs) {
      findings.push({
        check: 'certificate',
        level: 'fault',
        found: `${member.name}, valid in ${span(member.notBeforeMs - nowMs)} only`,
        advice: 'set the clock of this machine',
      });
    } else if (leftMs <= 0) {
      findings.push({
        check: 'certificate',
        level: 'fault',
        found: who,
        advice: 'join again, with a new token and a new folder',
      });
    } else if (leftMs < lifeMs / 4) {
      findings.push({
        check: 'certificate',
        level: 'warning',
        found: who,
        advice: 'see whether an issuer runs: it was not renewed',
      });
    } else findings.push({ check: 'certificate', level: 'ok', found: who });
    if (process.platform !== 'win32' && (statSync(folder).mode & 0o077) !== 0) {
      findings.push({
        check: 'credentials',
        level: 'warning',
        found: `others may enter ${folder}`,
        advice: `chmod 700 ${folder}`,
      });
    }
    return { findings, seeds };
  } catch (error) {
    const finding: Finding = {
      check: 'credentials',
      level: 'fault',
      found: lineOf(error),
      advice: 'restore the folder, or join again',
    };
    return { findings: [finding], seeds: [] };
  }
}

/** Looks up and connects to each address where the network should be found. */
export async function addressFindings(addresses: readonly string[]): Promise<Finding[]> {
  const findings = await Promise.all(addresses.map((address) => addressFinding(address)));
  // One way in is enough: the others may be behind other routers.
  const isReached = findings.some(({ level }) => level === 'ok');
  return findings.map((finding) =>
    isReached && finding.level === 'fault' ? { ...finding, level: 'warning' as const } : finding,
  );
}

async function addressFinding(text: string): Promise<Finding> {
  const check = `address ${text}`;
  try {
    const address = parseLinkAddress(text, 'tls');
    if (address.scheme === 'unix' || address.host === undefined)
      return { check, level: 'ok', found: 'of this machine' };
    const began = performance.now();
    const found = await lookup(address.host, { all: true });
    const names = found.map((of) => of.address).join(', ');
    const lookedUpMs = performance.now() - began;
    await new Promise<void>((resolve, reject) => {
      const socket = connect({ host: address.host, port: address.port });
      socket.setTimeout(CONNECT_MS, () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.destroy();
        resolve();
      });
    });
    const tookMs = performance.now() - began - lookedUpMs;
    return { check, level: 'ok', found: `${names}; connected in ${ms(tookMs)} ms` };
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    const isName = code === 'ENOTFOUND' || code === 'EAI_AGAIN';
    return {
      check,
      level: 'fault',
      found: isName ? `the name is not found (${code})` : `cannot be connected to (${code})`,
      advice: isName
        ? 'see the name and the DNS servers of this machine'
        : 'see whether a node listens there, and the firewalls between',
    };
  }
}

/** Asks the node of this machine, and its neighbours. */
export async function nodeFindings(asker: Asker): Promise<Finding[]> {
  const [health, links, stats] = [
    await asker.ask('/v1/health'),
    await asker.ask('/v1/links'),
    await asker.ask('/v1/stats'),
  ];
  const ready = await readiness(asker);
  const findings: Finding[] = [
    {
      check: 'node',
      level: health.state === 'open' ? 'ok' : 'warning',
      found: `${health.name ?? health.id}, ${health.state}, up ${span(health.uptimeMs)}, links: ${links.links.length}, warnings: ${stats.warnings}`,
    },
    ready.ready
      ? {
          check: 'reachable',
          level: 'ok',
          found: confirmation(ready),
        }
      : {
          check: 'reachable',
          level: 'fault',
          found: ready.reason ?? 'not ready',
          advice: 'see starlane links and the addresses above',
        },
  ];
  for (const { check, error, peerId } of ready.checks.map((of) => ({ ...of, check: of.how }))) {
    if (error !== undefined)
      findings.push({ check: 'reachable', level: 'warning', found: `${peerId} (${check}): ${error}` });
  }
  const peers = links.links.slice(0, MAX_PEERS);
  const answers = await Promise.all(
    peers.map(({ peerId, peerName }) =>
      asker.ping(`@${peerId}`, 1).then(
        (answer) => ({ name: peerName ?? peerId, answer, error: undefined }),
        (error: Error) => ({ name: peerName ?? peerId, answer: undefined, error }),
      ),
    ),
  );
  const versions = new Map<string, string[]>();
  for (const { name, answer, error } of answers) {
    if (answer === undefined) {
      findings.push({ check: `peer ${name}`, level: 'warning', found: lineOf(error) });
      continue;
    }
    const aheadMs = answer.clockAheadMs;
    const differenceMs = Math.abs(aheadMs);
    const level = differenceMs > CLOCK_FAULT_MS ? 'fault' : differenceMs > CLOCK_WARNING_MS ? 'warning' : 'ok';
    const clock = `its clock is ${span(differenceMs)} ${aheadMs >= 0 ? 'ahead' : 'behind'}`;
    findings.push({
      check: `peer ${name}`,
      level,
      found: `${ms(answer.minMs)} ms, version ${answer.health.version}, ${clock}`,
      ...(level === 'ok'
        ? {}
        : { advice: 'set both clocks, by NTP for example: tokens and certificates are about time' }),
    });
    versions.set(answer.health.version, [...(versions.get(answer.health.version) ?? []), name]);
  }
  const others = [...versions.keys()].filter((version) => version !== health.version);
  if (others.length > 0) {
    findings.push({
      check: 'version skew',
      level: others.some((version) => isFar(version, health.version)) ? 'warning' : 'ok',
      found: `this node has ${health.version}; ${others.map((version) => `${version} at ${versions.get(version)?.join(', ')}`).join('; ')}`,
      ...(others.some((version) => isFar(version, health.version))
        ? { advice: 'upgrade one minor version at a time: a release works with the minor version before it' }
        : {}),
    });
  }
  return findings;
}

function confirmation({ checks }: ReadyAnswer): string {
  const confirmed = checks.filter(({ ok }) => ok).length;
  if (confirmed === 0) return 'it joins no other node, and so needs no confirmation';
  return confirmed === 1 ? 'one neighbour confirms it' : `${confirmed} neighbours confirm it`;
}

async function readiness(asker: Asker): Promise<ReadyAnswer> {
  // 503 has the same body, which says why.
  const response = await asker.client.open({ path: '/v1/ready' });
  let text = '';
  for await (const chunk of response) text += chunk;
  return JSON.parse(text) as ReadyAnswer;
}

/** Whether two versions are more than one minor version apart. */
function isFar(one: string, other: string): boolean {
  const [[major, minor], [otherMajor, otherMinor]] = [one, other].map((version) => version.split('.').map(Number));
  return major !== otherMajor || Math.abs(minor - otherMinor) > 1;
}
