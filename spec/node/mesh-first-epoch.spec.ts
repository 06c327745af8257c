import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { writeEpoch } from '../../lib/identity/identity.js';
import { firstEpochOf } from '../../lib/node/mesh.js';
import { GossipNet } from '../mesh/gossip-net.js';
import { nodeOf } from '../mesh/signed-records.js';

const NOW = Date.UTC(2026, 0, 1);
/** From 2020 to 2026, in s. */
const SECONDS = (6 * 365 + 2) * 86_400;

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-epoch-'));
  path = join(folder, 'node.key');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the first epoch of a run', () => {
  it('is 1 for an identity that no node can know', () => {
    expect(firstEpochOf(undefined, NOW)).toBe(1);
  });

  it('follows the clock for a key that may have been used before', () => {
    expect(firstEpochOf(generateKeyPairSync('ed25519').privateKey, NOW)).toBe(SECONDS);
    expect(firstEpochOf(path, NOW + 1_999)).toBe(SECONDS + 1);
  });

  it('is above the one in the file, whatever the clock shows', () => {
    writeEpoch(path, SECONDS + 10);
    expect(firstEpochOf(path, NOW)).toBe(SECONDS + 11);
    expect(firstEpochOf(path, 0)).toBe(SECONDS + 11);
    writeEpoch(path, 5);
    expect(firstEpochOf(path, NOW)).toBe(SECONDS);
  });

  it('is never so high that none are left, and never below 1', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    expect(firstEpochOf(privateKey, Number.MAX_SAFE_INTEGER)).toBeLessThan(0xffff_ffff);
    expect(firstEpochOf(privateKey, 0)).toBe(1);
  });

  it('brings a node back to those that have forgotten all but its version', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const net = new GossipNet();
    const node = net.add('node');
    const epoch = firstEpochOf(privateKey, NOW);
    const { nodeId } = nodeOf('gone');
    node.unreachable.add(nodeId);
    // It was there for a while, and had to defend itself a few times.
    net.feed(node, [nodeOf('gone', { epoch: epoch + 3, seq: 0x10_0000, lifeS: 60 })]);
    net.pass(180_000, 10_000);
    expect(node.gossip.store.node(nodeId)).toBe(undefined);
    node.unreachable.clear();
    const reborn = net.add('gone', { run: 2, firstEpoch: firstEpochOf(privateKey, NOW + 180_000) });
    net.link(reborn, node);
    net.pass(1_000);
    expect(node.gossip.store.node(nodeId)?.bootId).toBe(reborn.identity.bootId);
  });
});
