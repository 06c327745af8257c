// The files of deploy: each is read by the tool that it is for where that is installed, and what they say of the command is true.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { loadCommands } from '../../lib/cli/catalog.js';
import { readConfigFile } from '../../lib/cli/config/file.js';
import { kebab, parseDuration } from '../../lib/cli/flags.js';
import { NODE_FLAGS } from '../../lib/cli/run/node-flags.js';
import { SHARED_FLAGS } from '../../lib/cli/shared-flags.js';
import { builtUrl } from '../support/built-lib.js';
import { Child } from '../support/child.js';
import { describeUnless, type Obstacle } from '../support/obstacle.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const DEPLOY = join(ROOT, 'deploy');
const KUBERNETES = ['seeds.yaml', 'sidecar.yaml', 'gateway.yaml'];
const UNITS = ['starlane.service', 'starlane-gateway.service', 'starlane-gateway.socket'];
/** Where the folder for credentials of systemd and the user of the image are. */
const USER = '10001';

const folder = mkdtempSync(join(tmpdir(), 'starlane-deploy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// biome-ignore lint/suspicious/noExplicitAny: the shape of manifests is what this spec is about
type Any = any;

function read(path: string): string {
  return readFileSync(join(DEPLOY, path), 'utf8');
}

function manifests(file: string): Any[] {
  return parseAllDocuments(read(join('kubernetes', file))).map((document) => document.toJS());
}

const all: Any[] = KUBERNETES.flatMap(manifests);
const workloads: Any[] = all.filter(({ spec }) => spec?.template !== undefined);
const compose: Any = parse(read('compose/compose.yaml'), { merge: true });

function without(program: string, args: string[]): Obstacle | undefined {
  const { status } = spawnSync(program, args, { stdio: 'ignore' });
  return status === 0 ? undefined : { reason: `${program} is not installed`, isMissing: true };
}

/** Command lines of starlane in the files, without its name. */
function commandLines(): string[][] {
  const ofUnits = UNITS.flatMap((unit) =>
    [...read(join('systemd', unit)).matchAll(/\/usr\/bin\/starlane ([^\n'<]+)/g)].map(([, line]) =>
      (line as string).trim().split(/ +/),
    ),
  );
  const ofPods = workloads.flatMap(({ spec }) =>
    spec.template.spec.containers.flatMap(({ image, args, startupProbe, livenessProbe, readinessProbe }: Any) => {
      const probes = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.exec?.command);
      return [image.startsWith('starlane') ? args : undefined, ...probes.map((line) => line?.slice(1))];
    }),
  );
  const ofCompose = Object.values(compose.services).map(({ image, command }: Any) =>
    image.startsWith('starlane') ? command : undefined,
  );
  const ofImage = [...read('Dockerfile').matchAll(/^(?:HEALTHCHECK .*)?CMD (\[.*\])$/gm)].map(([, list]) =>
    JSON.parse(list as string),
  );
  const lines = [
    ...ofUnits,
    ...ofPods,
    ...ofCompose,
    ...ofImage.map((line) => (line[0] === 'starlane' ? line.slice(1) : line)),
  ];
  return lines.filter((line) => line !== undefined);
}

describe('the files of deploy', () => {
  it('call commands that exist, with flags that they have', async () => {
    const commands = await loadCommands();
    const lines = commandLines();
    expect(lines.length).toBeGreaterThan(12);
    const faults = lines.flatMap(([name = '', ...words]) => {
      const command = commands.find((one) => one.name === name);
      if (command === undefined) return [`no command ${name}`];
      const flags = Object.keys({ ...NODE_FLAGS, ...SHARED_FLAGS, ...command.flags }).map(kebab);
      const given = words.filter((word) => word.startsWith('--')).map((word) => word.slice(2));
      return given.filter((flag) => !flags.includes(flag)).map((flag) => `${name} --${flag}`);
    });
    expect([...new Set(faults)]).toEqual([]);
  });

  it('hold configurations that the command takes', async () => {
    const ofMaps = all.filter(({ kind }) => kind === 'ConfigMap').map(({ data }) => data['starlane.yaml']);
    const texts: string[] = [...ofMaps, read('compose/gateway.yaml'), read('systemd/starlane.yaml')];
    expect(texts).toHaveLength(4);
    for (const text of texts) {
      const content = parse(text);
      const path = join(folder, 'starlane.yaml');
      writeFileSync(path, JSON.stringify(content));
      expect(Object.keys((await readConfigFile(path)).top)).not.toEqual([]);
    }
  });

  it('are all named in docs/operate.md', () => {
    const docs = readFileSync(join(ROOT, 'docs/operate.md'), 'utf8');
    for (const name of ['Dockerfile', 'compose', 'systemd', 'kubernetes']) expect(docs).toContain(`deploy/${name}`);
  });
});

/** Commands that the files use before they exist. */
describe('the image', () => {
  const text = read('Dockerfile');
  const stages = text.split(/^FROM /m).slice(1);
  const last = stages.at(-1) as string;

  it('is built in two stages from a small image, and runs as a user without rights, with a health check', () => {
    expect(stages).toHaveLength(2);
    for (const stage of stages) expect(stage).toMatch(/^node:22-slim\b/);
    expect(/^USER (\S+)$/m.exec(last)?.[1]).toBe(`${USER}:${USER}`);
    expect(last.indexOf('\nUSER ')).toBeGreaterThan(last.lastIndexOf('\nRUN '));
    expect(last).toMatch(/^HEALTHCHECK .*CMD \["starlane", "status"\]$/m);
  });

  it('copies files that exist', () => {
    const sources = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names]) =>
      (names as string).split(' '),
    );
    const built = [...text.matchAll(/\/src\/([\w.-]+)/g)].map(([, name]) => name as string);
    const made = ['node_modules', 'dist'];
    for (const name of [...sources, ...built.filter((one) => !made.includes(one))])
      expect(existsSync(join(ROOT, name))).toBe(true);
    expect(text).toContain('/opt/starlane/dist/cli/main.js');
    const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(bin.starlane).toBe('./dist/cli/main.js');
  });
});

describe('the compose file', () => {
  it('refers to what it has', () => {
    const { services, volumes, secrets, configs } = compose;
    const faults: string[] = [];
    const check = (name: string, what: string, list: string[], known: object): void => {
      for (const one of list) if (!(one in known)) faults.push(`${name}: no ${what} ${one}`);
    };
    for (const [name, service] of Object.entries<Any>(services)) {
      check(
        name,
        'volume',
        (service.volumes ?? []).map((volume: string) => volume.split(':')[0]),
        volumes,
      );
      check(name, 'secret', service.secrets ?? [], secrets);
      check(
        name,
        'config',
        (service.configs ?? []).map(({ source }: Any) => source),
        configs,
      );
      check(name, 'service', Object.keys(service.depends_on ?? {}), services);
      if (service.network_mode !== undefined)
        check(name, 'service', [service.network_mode.replace('service:', '')], services);
    }
    expect(faults).toEqual([]);
    for (const { file } of Object.values<Any>(configs)) expect(existsSync(join(DEPLOY, 'compose', file))).toBe(true);
  });

  it('waits longer than a drain', () => {
    for (const service of Object.values<Any>(compose.services)) {
      if (service.image.startsWith('starlane'))
        expect(parseDuration(service.stop_grace_period)).toBeGreaterThan(30_000);
    }
  });
});

describe('the manifests', () => {
  it('fit together: selectors, ports, volumes and configurations', () => {
    const faults: string[] = [];
    const maps = all.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name);
    for (const { metadata, spec } of workloads) {
      const { labels } = spec.template.metadata;
      const pod = spec.template.spec;
      const volumes = [...pod.volumes, ...(spec.volumeClaimTemplates ?? []).map((one: Any) => one.metadata)];
      for (const [label, value] of Object.entries(spec.selector.matchLabels))
        if (labels[label] !== value) faults.push(`${metadata.name}: ${label}`);
      for (const { configMap } of volumes)
        if (configMap !== undefined && !maps.includes(configMap.name)) faults.push(configMap.name);
      for (const container of pod.containers) {
        for (const { name } of container.volumeMounts ?? [])
          if (!volumes.some((one: Any) => one.name === name)) faults.push(`${container.name}: ${name}`);
        const ports = (container.ports ?? []).map(({ name }: Any) => name);
        for (const kind of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
          const port = container[kind]?.tcpSocket?.port;
          if (port !== undefined && !ports.includes(port)) faults.push(`${container.name}: ${kind} ${port}`);
        }
      }
    }
    for (const { kind, metadata, spec } of all) {
      if (kind !== 'Service' && kind !== 'PodDisruptionBudget') continue;
      const wanted = kind === 'Service' ? spec.selector : spec.selector.matchLabels;
      const pods = workloads.filter(({ spec: { template } }) =>
        Object.entries(wanted).every(([label, value]) => template.metadata.labels[label] === value),
      );
      const ports = pods.flatMap(({ spec: { template } }) =>
        template.spec.containers.flatMap((one: Any) => (one.ports ?? []).map(({ name }: Any) => name)),
      );
      if (pods.length !== 1) faults.push(`${metadata.name}: selects ${pods.length}`);
      for (const { targetPort } of spec.ports ?? [])
        if (!ports.includes(targetPort)) faults.push(`${metadata.name}: ${targetPort}`);
    }
    expect(faults).toEqual([]);
  });

  it('give pods more time than preStop and a drain take, and no rights', () => {
    for (const { spec } of workloads) {
      const pod = spec.template.spec;
      const preStopS = Math.max(
        ...pod.containers.map(({ image, lifecycle }: Any) =>
          image.startsWith('starlane') ? Number(lifecycle?.preStop.exec.command[1] ?? 0) : 0,
        ),
      );
      expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(preStopS + 30);
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: Number(USER),
        fsGroupChangePolicy: 'OnRootMismatch',
      });
      for (const { securityContext } of pod.containers) {
        expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
      }
    }
  });

  it('name the SRV record of the headless service', () => {
    const seeds = all.find(({ kind, spec }) => kind === 'Service' && spec.clusterIP === 'None');
    const { namespace } = parse(read('kubernetes/kustomization.yaml'));
    const name = `srv:_${seeds.spec.ports[0].name}._tcp.${seeds.metadata.name}.${namespace}.svc.cluster.local`;
    for (const file of KUBERNETES) expect(read(join('kubernetes', file))).toContain(name);
    const named = KUBERNETES.flatMap((file) =>
      [...read(join('kubernetes', file)).matchAll(/srv:\S+/g)].map(([text]) => text),
    );
    expect(new Set(named)).toEqual(new Set([name]));
  });
});

/** Paths of values that a manifest has and what kubectl made of it has not. */
function lostIn(made: Any, given: Any, path = ''): string[] {
  if (typeof given !== 'object' || given === null) return made === undefined ? [path] : [];
  return Object.entries(given).flatMap(([key, value]) => lostIn(made?.[key], value, `${path}.${key}`));
}

describeUnless(without('kubectl', ['version', '--client']), 'kubectl', () => {
  it('builds the manifests', () => {
    const text = execFileSync('kubectl', ['kustomize', join(DEPLOY, 'kubernetes')], { encoding: 'utf8' });
    const built = parseAllDocuments(text).map((document) => document.toJS());
    expect(built).toHaveLength(all.length);
    for (const { metadata } of built) expect(metadata.namespace).toBe('starlane');
  });

  it('knows every field of the workloads, without a cluster', () => {
    for (const workload of workloads) {
      const path = join(folder, 'workload.json');
      writeFileSync(path, JSON.stringify(workload));
      // Reads it into the types of the API, which drops what they do not have.
      const args = ['set', 'image', '--local', '-f', path, '*=checked:1', '-o', 'json'];
      const made = JSON.parse(execFileSync('kubectl', args, { encoding: 'utf8' }));
      expect(lostIn(made, workload)).toEqual([]);
    }
  });
});

describeUnless(without('systemd-analyze', ['--version']), 'systemd', () => {
  it('takes the units without a warning', () => {
    const units = UNITS.map((unit) => {
      const path = join(folder, unit);
      writeFileSync(path, read(join('systemd', unit)).replaceAll('/usr/bin/starlane', process.execPath));
      return path;
    });
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], {
      encoding: 'utf8',
    });
    expect({
      status,
      stdout,
      stderr: stderr.split('\n').filter((line) => line.includes(folder) || line.includes('starlane')),
    }).toEqual({
      status: 0,
      stdout: '',
      stderr: [],
    });
  });
});

it('The health check finds the node by the variables of the manifests, and SIGTERM ends it with 0.', async () => {
  const main = fileURLToPath(builtUrl('cli/main.js'));
  const { env } = workloads.find(({ kind }) => kind === 'StatefulSet').spec.template.spec.containers[0];
  expect(env.map(({ name }: Any) => name)).toEqual([
    'STARLANE_JOIN',
    'STARLANE_SECRET_FILE',
    'STARLANE_IDENTITY',
    'STARLANE_RUN',
  ]);
  mkdirSync(join(folder, 'run'));
  writeFileSync(join(folder, 'secret'), 'of the spec about deploy');
  const variables = {
    PATH: process.env['PATH'],
    STARLANE_JOIN: 'dns:localhost:9',
    STARLANE_SECRET_FILE: join(folder, 'secret'),
    STARLANE_IDENTITY: join(folder, 'node.key'),
    STARLANE_RUN: join(folder, 'run/node'),
    STARLANE_HOME: folder,
  };
  const before = spawnSync(process.execPath, [main, 'status'], { env: variables, encoding: 'utf8' });
  expect(before.status).not.toBe(0);
  const child = new Child(process.execPath, [main, 'up', '--listen', 'tls://127.0.0.1:0', '--json'], {
    env: variables,
  });
  try {
    await child.waitFor('its start', (line) => line['pid'] !== undefined);
    const after = spawnSync(process.execPath, [main, 'status'], { env: variables, encoding: 'utf8' });
    expect(after.status).toBe(0);
    child.kill('SIGTERM');
    expect(await child.exited).toBe(0);
  } finally {
    child.kill();
  }
});
