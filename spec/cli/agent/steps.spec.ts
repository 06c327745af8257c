// The steps of a deployment at one host, over circuits that break.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { AppsPart } from '../../../lib/cli/agent/apps/part.js';
import { listFolder } from '../../../lib/cli/agent/bundle/pack.js';
import { type BundleSource, fileSource, folderSource, writeBundle } from '../../../lib/cli/agent/bundle/source.js';
import { DeploySteps } from '../../../lib/cli/agent/deploy/host-steps.js';
import { HostClient, type HostRequest } from '../../../lib/cli/agent/host-client.js';
import type { Host } from '../../../lib/cli/agent/hosts.js';
import { NodeOverlay, type OverlaySocket } from '../../../lib/cli/run/overlay.js';
import { AgentNet } from '../../support/agent-net.js';
import { manifestOf, newKey } from '../../support/bundles.js';

const key = newKey();
const MIB = 1024 * 1024;
const never = new AbortController().signal;

let net: AgentNet;
let folder: string;

afterEach(async () => net.close());

/** An app with large files beside its program. */
async function begin(): Promise<BundleSource> {
  net = await AgentNet.of(2);
  await net.agent(1, { allow: ['members=n0 rights=deploy'], signers: [key.signer] }, [new AppsPart()]);
  folder = join(net.folder, 'app');
  mkdirSync(folder);
  writeFileSync(join(folder, 'main.mjs'), 'setInterval(() => {}, 1000)');
  for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, name), Buffer.alloc(2 * MIB, name));
  return folderSource(folder, { ...manifestOf({}), ...(await listFolder(folder, [])) }, key);
}

/** The host, with what is asked of it; `onCircuit` sees each circuit. */
function watched(onCircuit: (circuit: OverlaySocket, number: number) => void = () => {}): {
  host: Host;
  asked: string[];
} {
  const { nodes } = net.net.net;
  const overlay = new NodeOverlay(nodes[0]);
  const dial = overlay.dial.bind(overlay);
  let number = 0;
  overlay.dial = (address, options) => {
    const circuit = dial(address, options);
    onCircuit(circuit, number++);
    return circuit;
  };
  const asked: string[] = [];
  class Watched extends HostClient {
    override ask(request: HostRequest): Promise<unknown> {
      asked.push(`${request.method} ${request.path.replace(/[0-9a-f]{64}/, 'DIGEST')}`);
      return super.ask(request);
    }
  }
  return { host: { name: 'n1', client: new Watched(overlay, nodes[1].id) }, asked };
}

const steps = (source: BundleSource) => new DeploySteps(source, { reachMs: 20_000, restores: true });

/** Destroys a circuit when so much was written to it. */
function cutBehind(circuit: OverlaySocket, bytes: number): void {
  const write = circuit.write.bind(circuit) as (...values: unknown[]) => boolean;
  let written = 0;
  Object.assign(circuit, {
    write: (chunk: Buffer, ...more: unknown[]) => {
      written += chunk.length;
      if (written > bytes) circuit.destroy(Object.assign(new Error('cut'), { code: 'ECONNRESET' }));
      return write(chunk, ...more);
    },
  });
}

describe('a deployment', () => {
  it('goes on behind the files that are complete when the circuit breaks in the middle', async () => {
    const source = await begin();
    const { host, asked } = watched((circuit, number) => number === 1 && cutBehind(circuit, 5 * MIB));
    expect(await steps(source).deploy(host, never)).toMatchObject({ number: 1, changed: true });
    const puts = asked.filter((line) => line.startsWith('PUT'));
    expect(puts[0]).toBe('PUT /v1/apps/web/versions/DIGEST?from=0');
    expect(puts.length).toBe(2);
    expect(puts[1]).toMatch(/from=[12]$/);
  });

  it('asks again for what has broken off while the host changed, and knows that it was changed', async () => {
    const source = await begin();
    const { host } = watched((circuit, number) => {
      if (number !== 2) return;
      circuit.once('connect', () =>
        setImmediate(() => circuit.destroy(Object.assign(new Error('cut'), { code: 'ECONNRESET' }))),
      );
    });
    expect(await steps(source).deploy(host, never)).toMatchObject({ number: 1, changed: true });
    const again = watched();
    expect(await steps(source).deploy(again.host, never)).toMatchObject({ changed: false });
    expect(again.asked).toEqual(['POST /v1/apps/web/versions', 'POST /v1/apps/web/activate?number=1&restore=true']);
  });

  it('hears what is wrong with a bundle though it still sends, and does not try again', async () => {
    const source = await begin();
    const tampered: BundleSource = {
      ...source,
      from: (entry) =>
        Readable.from(
          (async function* () {
            let isFirst = true;
            for await (const piece of source.from(entry) as AsyncIterable<Buffer>) {
              if (isFirst) piece[0] ^= 1;
              isFirst = false;
              yield piece;
            }
          })(),
        ),
    };
    const { host, asked } = watched();
    await expect(steps(tampered).deploy(host, never)).rejects.toMatchObject({ code: 'ERR_STARLANE_BUNDLE' });
    expect(asked.length).toBe(2);
  });

  it('is the same from a packed bundle, with or without gzip', async () => {
    const source = await begin();
    for (const name of ['web.tar', 'web.tar.gz']) {
      const path = join(net.folder, name);
      await writeBundle(source, path);
      const again = await fileSource(path);
      expect(again.head.equals(source.head)).toBe(true);
      for (const entry of [0, 2, 4]) {
        const [one, two] = await Promise.all(
          [source, again].map(async (from) => Buffer.concat(await from.from(entry).toArray())),
        );
        expect(one.equals(two)).toBe(true);
      }
    }
    const packed = await fileSource(join(net.folder, 'web.tar.gz'));
    expect(await steps(packed).deploy(watched().host, never)).toMatchObject({ changed: true });
  });

  it('goes back to the version before, and stops what was the first one', async () => {
    const source = await begin();
    const { host } = watched();
    const done = await steps(source).deploy(host, never);
    await steps(source).undo(host, done);
    const status = await host.client.ask({ method: 'GET', path: '/v1/apps/web', timeoutMs: 10_000 });
    expect(status).toMatchObject({ state: 'stopped', number: 1 });
  });
});
