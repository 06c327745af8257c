// What a program pays for `import 'starlane'` before it does anything: the modules that come with it. Those that only some
// programs need are loaded when they do.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** Below node_modules, so that the packages it imports are found. */
const OUT = join(ROOT, 'node_modules/.cache', `starlane-bundle-${process.pid}`);

/** Runs a module with the bundle at hand; its last line is JSON. */
function run(body: string, env: Record<string, string> = {}): { answer: unknown; errors: string } {
  const program = `
    import { createRequire, register } from 'node:module';
    import { writeSync } from 'node:fs';
    const builtins = () => process.moduleLoadList
      .filter((name) => name.startsWith('NativeModule '))
      .map((name) => name.slice('NativeModule '.length));
    const isLoaded = (name) => builtins().includes(name);
    const required = () => Object.keys(createRequire(import.meta.url).cache);
    const answer = (value) => writeSync(1, JSON.stringify(value));
    const load = (entry) => import(${JSON.stringify(`${pathToFileURL(OUT).href}/`)} + entry);
    ${body}`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`exit code ${status}: ${stderr}`);
  return { answer: JSON.parse(stdout), errors: stderr };
}

beforeAll(() => {
  mkdirSync(OUT, { recursive: true });
  const { status, stderr } = spawnSync('npm', ['run', '--silent', 'bundle', '--', `--outdir=${OUT}`], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`npm run bundle: ${stderr}`);
});

afterAll(() => rmSync(OUT, { recursive: true, force: true }));

describe("import 'starlane'", () => {
  it('loads no module that only some programs need, and neither does a node without tls', () => {
    const { answer } = run(`
      const rare = ['tls', 'http', 'https', 'http2', 'dns', 'dns/promises', 'os', 'tty', 'internal/mime', 'cluster'];
      const before = rare.filter(isLoaded);
      const { createNode } = await load('index.js');
      const imported = rare.filter(isLoaded);
      const [server, client] = [createNode(), createNode()];
      const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
      await client.join(address);
      await Promise.all([client.close(), server.close()]);
      const linked = ['tls', 'http', 'https', 'http2'].filter(isLoaded);
      answer({ imported: imported.filter((name) => !before.includes(name)), linked, required: required() });`);
    expect(answer).toEqual({ imported: [], linked: [], required: [] });
  });

  it('loads a handful of files, none of another package', () => {
    const { answer } = run(`
      import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
      const hooks = \`
        let port;
        export const initialize = (data) => { port = data.port; };
        export const load = (url, context, next) => { port.postMessage(url); return next(url, context); };\`;
      const { port1, port2 } = new MessageChannel();
      register('data:text/javascript,' + encodeURIComponent(hooks), { data: { port: port2 }, transferList: [port2] });
      await load('index.js');
      const urls = [];
      for (let next = receiveMessageOnPort(port1); next !== undefined; next = receiveMessageOnPort(port1)) {
        urls.push(next.message);
      }
      port1.close();
      answer(urls.filter((url) => url.startsWith('file:')));`);
    const files = answer as string[];
    const folder = pathToFileURL(OUT).href;
    expect(files[0]).toBe(`${folder}/index.js`);
    expect(files.filter((url) => !url.startsWith(folder))).toEqual([]);
    // One of them has what esbuild needs for bundled CommonJS packages, which are not loaded.
    expect(files.length).toBeLessThanOrEqual(18);
  });

  it('loads nothing of prom-client or OpenTelemetry before there are metrics, also from starlane/http', () => {
    const { answer } = run(`
      const rare = ['cluster', 'v8', 'zlib', 'perf_hooks'];
      const before = rare.filter(isLoaded);
      const { createNode } = await load('index.js');
      const { metrics } = await load('http/index.js');
      const imported = rare.filter(isLoaded).filter((name) => !before.includes(name));
      const node = createNode();
      const text = await metrics(node).render();
      await node.close();
      answer({ imported, hasMetrics: text.includes('starlane_links 0'), api: Object.getOwnPropertySymbols(globalThis).map(String).filter((name) => name.includes('opentelemetry')) });`);
    expect(answer).toEqual({ imported: [], hasMetrics: true, api: [] });
  });

  it('loads with starlane/http neither the page of the monitor nor what only the monitor needs', () => {
    const { answer } = run(`
      const before = ['zlib', 'dns/promises'].filter(isLoaded);
      const { monitor } = await load('http/index.js');
      answer([typeof monitor, ['dns/promises'].filter(isLoaded).filter((name) => !before.includes(name))]);`);
    expect(answer).toEqual(['function', []]);
    const page = readdirSync(OUT).filter((name) => name.startsWith('page-files-') && name.endsWith('.js'));
    expect(page).toHaveLength(1);
    // It is imported where it is used, and nowhere else.
    const texts = readdirSync(OUT)
      .filter((name) => name.endsWith('.js'))
      .map((name) => readFileSync(join(OUT, name), 'utf8'));
    texts.push(readFileSync(join(OUT, 'http/index.js'), 'utf8'));
    const [name = ''] = page;
    const uses = texts.flatMap((text) => [...text.matchAll(/(import\(|from ?|import ?)"[./]*(page-files-\w+\.js)"/g)]);
    expect(uses.map(([, how, file]) => [how, file])).toEqual([['import(', name]]);
  });

  it('loads tls with the first link of a network with a secret, and no package', () => {
    const { answer } = run(`
      const { createNode } = await load('index.js');
      const [server, client] = [createNode({ secret: 'of this spec alone' }), createNode({ secret: 'of this spec alone' })];
      const before = isLoaded('tls');
      const { address } = await server.listenAndServe('127.0.0.1:0');
      const link = await client.join(address);
      const isJoined = link.peerId === server.id;
      await Promise.all([client.close(), server.close()]);
      answer({ before, after: isLoaded('tls'), isJoined, required: required() });`);
    expect(answer).toEqual({ before: false, after: true, isJoined: true, required: [] });
  });

  it('loads http with the first query, and not for nodes that nobody asks', () => {
    const { answer } = run(`
      const { createNode } = await load('index.js');
      const [server, client] = [createNode(), createNode()];
      const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
      await client.join(address);
      const before = isLoaded('http');
      const { id } = await client.query('@' + server.id, '/v1/health');
      const isRight = id === server.id;
      await Promise.all([client.close(), server.close()]);
      answer({ before, after: isLoaded('http'), isRight, required: required() });`);
    expect(answer).toEqual({ before: false, after: true, isRight: true, required: [] });
  });

  it('loads the package debug where DEBUG is set, which then prints', () => {
    const { answer, errors } = run(
      `const { createNode } = await load('index.js');
      const node = createNode();
      await node.close();
      answer(required().some((file) => file.includes('/debug/')));`,
      { DEBUG: 'starlane:node' },
    );
    expect(answer).toBe(true);
    expect(errors).toMatch(/starlane:node \S+ closes/);
  });

  it('of starlane/http loads neither HTTP/2 nor a package before a gateway is opened', () => {
    const { answer } = run(`
      const { gateway } = await load('http/index.js');
      const { createNode } = await load('index.js');
      const before = [isLoaded('http2'), required()];
      const node = createNode();
      const opened = await gateway(node, { listen: 0 });
      const after = [isLoaded('http2'), required()];
      await opened.close();
      await node.close();
      answer({ before, after });`);
    expect(answer).toEqual({ before: [false, []], after: [true, []] });
  });

  it.each([
    ['index.js', ['Node', 'Server', 'Socket', 'StarlaneError']],
    ['mux/index.js', ['Session', 'StarlaneError', 'Stream']],
  ])('keeps the names of the classes of %s, as they are printed', (entry, classes) => {
    const { answer } = run(`
      const exported = await load('${entry}');
      answer(${JSON.stringify(classes)}.map((name) => exported[name].name));`);
    expect(answer).toEqual(classes);
  });

  it('is one library however it is loaded', () => {
    const { answer } = run(`
      const [{ StarlaneError }, mux, http] = [await load('index.js'), await load('mux/index.js'), await load('http/index.js')];
      let thrown;
      try {
        http.agent({}, { address: 1 });
      } catch (error) {
        thrown = error;
      }
      answer([StarlaneError === mux.StarlaneError, thrown instanceof StarlaneError]);`);
    expect(answer).toEqual([true, true]);
  });

  it('has an entry for every path that package.json exports', () => {
    const made = readdirSync(OUT, { recursive: true }).map(String);
    const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      exports: Record<string, { default: string } | string>;
    };
    const named = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [] : [entry.default]));
    expect(named.length).toBeGreaterThan(3);
    expect(made).toEqual(expect.arrayContaining(named.map((file) => file.replace('./dist/', ''))));
  });
});
