// What stands between the load and the backend. Each is started once, as users start it, and measured in turn.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findHaproxy } from '../relay/carriers/haproxy.mjs';
import { accepting, freePort, Program } from './processes.mjs';

const BARE = fileURLToPath(new URL('./bare.mjs', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
const BACKEND = fileURLToPath(new URL('./backend.mjs', import.meta.url));

/**
 * @typedef {object} Subject
 * @property {string} name
 * @property {'tcp' | 'http'} level
 * @property {string[]} references with whose processor time it is compared, that of the limit first
 * @property {number} port
 * @property {number | undefined} pid the process that does the work; undefined: nothing is between
 * @property {number | undefined} farPid of Starlane: the publishing side
 */

export class Subjects {
  /**
   * @param {string | undefined} profileFolder for CPU profiles of the commands
   * @param {string | undefined} other another build, to compare with
   */
  constructor(profileFolder, other) {
    this.other = other;
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'starlane-edge-'));
    this.profileFolder = profileFolder;
    /** @type {Program[]} */
    this.programs = [];
    /** @type {Subject[]} */
    this.list = [];
    this.backendPort = 0;
    /** Homes of the nodes without members, and of those with. */
    this.homes = 0;
  }

  /** @param {readonly string[]} names */
  async start(names) {
    const backend = await this.run([BACKEND]);
    this.backendPort = Number(backend.line);
    this.add('direct', 'tcp', this.backendPort);
    const wants = (/** @type {string} */ name) => names.includes(name);
    if (wants('pipe')) await this.bare('pipe', 'tcp', 'pipe');
    if (wants('haproxy')) await this.haproxy('haproxy', 'tcp');
    if (wants('haproxy-tls')) await this.haproxyTls();
    if (wants('http-proxy')) await this.bare('http-proxy', 'http', 'http');
    if (wants('http-proxy-ka')) await this.bare('http-proxy-ka', 'http', 'http-keep-alive');
    if (wants('haproxy-http')) await this.haproxy('haproxy-http', 'http');
    if (wants('forward') || wants('gateway') || this.other !== undefined) {
      const { link, pid } = await this.publishPlain();
      if (this.other !== undefined) {
        // With the same publishing side.
        if (wants('forward')) await this.forward('forward-other', ['--insecure', '--join', link], pid, this.other);
        if (wants('gateway')) await this.gateway('gateway-other', ['--insecure', '--join', link], pid, this.other);
      }
      if (wants('forward')) await this.forward('forward', ['--insecure', '--join', link], pid);
      if (wants('gateway')) await this.gateway('gateway', ['--insecure', '--join', link], pid);
    }
    if (wants('forward-tls') || wants('gateway-tls')) {
      const home = this.home();
      const port = await freePort();
      const { line, program } = await this.starlane(
        ['publish', 'web', '--port', String(this.backendPort), '--listen', `tls://127.0.0.1:${port}`, '--json'],
        home,
      );
      const { token } = JSON.parse(line);
      if (wants('forward-tls')) await this.forward('forward-tls', ['--join', token], program.pid);
      // A token is for one machine.
      const second = wants('forward-tls') ? await this.token(home) : token;
      if (wants('gateway-tls')) await this.gateway('gateway-tls', ['--join', second], program.pid);
    }
    if (wants('relay')) await this.relay();
  }

  /**
   * @param {string} name
   * @param {Subject['level']} level
   * @param {number} port
   * @param {number} [pid]
   * @param {number} [farPid]
   */
  add(name, level, port, pid, farPid) {
    const references = level === 'tcp' ? ['haproxy'] : ['http-proxy', 'http-proxy-ka'];
    if (name === 'forward-tls') references.push('haproxy-tls');
    this.list.push({ name, level, port, pid, farPid, references });
  }

  /** @param {string[]} args of Node */
  async run(args) {
    const program = new Program(process.execPath, args);
    this.programs.push(program);
    return { program, line: await program.started() };
  }

  /**
   * @param {string[]} args
   * @param {string} home
   */
  async starlane(args, home, dist = DIST) {
    const program = this.starlaneProgram(args, home, dist);
    return { program, line: await program.started() };
  }

  /**
   * @param {string[]} args
   * @param {string} home
   */
  starlaneProgram(args, home, dist = DIST) {
    const profile =
      this.profileFolder === undefined
        ? []
        : [
            '--cpu-prof',
            `--cpu-prof-dir=${this.profileFolder}`,
            `--cpu-prof-name=${this.list.length}-${args[0]}-${this.homes}.cpuprofile`,
          ];
    const env = { PATH: process.env.PATH, HOME: home, STARLANE_HOME: home, XDG_RUNTIME_DIR: home };
    const program = new Program(process.execPath, [...profile, path.join(dist, 'cli', 'main.js'), ...args], { env });
    this.programs.push(program);
    return program;
  }

  home() {
    return mkdtempSync(path.join(this.folder, `${this.homes++}-`));
  }

  /** @param {string} home */
  async token(home) {
    return (await this.starlane(['invite', '--json'], home)).line.match(/starlane\d+\.[\w.-]+/)?.[0] ?? '';
  }

  async publishPlain() {
    const port = await freePort();
    const link = `tcp://127.0.0.1:${port}`;
    const home = this.home();
    const file = path.join(home, 'starlane.yaml');
    writeFileSync(file, `publish:\n  web: { port: ${this.backendPort} }\n`);
    const program = this.starlaneProgram(['up', '--config', file, '--insecure', '--listen', link], home);
    await accepting(port);
    return { link, pid: program.pid };
  }

  /**
   * @param {string} name
   * @param {string[]} flags
   * @param {number} farPid
   */
  async forward(name, flags, farPid, dist = DIST) {
    const { program, line } = await this.starlane(['forward', '0:web', ...flags, '--json'], this.home(), dist);
    const port = Number(/:(\d+)$/.exec(JSON.parse(line).forwards[0].listen)?.[1]);
    this.add(name, 'tcp', port, program.pid, farPid);
  }

  /**
   * @param {string} name
   * @param {string[]} flags
   * @param {number} farPid
   */
  async gateway(name, flags, farPid, dist = DIST) {
    const port = await freePort();
    const args = ['gateway', '--port', String(port), '--default', 'web', ...flags, '--json'];
    const program = this.starlaneProgram(args, this.home(), dist);
    await program.started();
    await accepting(port);
    this.add(name, 'http', port, program.pid, farPid);
  }

  /** Two nodes that listen nowhere, with links to one between them. */
  async relay() {
    const link = `tcp://127.0.0.1:${await freePort()}`;
    const middle = this.starlaneProgram(['up', '--insecure', '--listen', link], this.home());
    await accepting(Number(link.slice(link.lastIndexOf(':') + 1)));
    const publishes = ['publish', 'web', '--port', String(this.backendPort), '--insecure', '--join', link, '--json'];
    await this.starlane(publishes, this.home());
    const { line } = await this.starlane(['forward', '0:web', '--insecure', '--join', link, '--json'], this.home());
    const port = Number(/:(\d+)$/.exec(JSON.parse(line).forwards[0].listen)?.[1]);
    this.add('relay', 'tcp', port, middle.pid);
  }

  /**
   * @param {string} name
   * @param {Subject['level']} level
   * @param {string} kind
   */
  async bare(name, level, kind) {
    const { program, line } = await this.run([BARE, kind, String(this.backendPort)]);
    this.add(name, level, Number(line), program.pid);
  }

  /**
   * One thread, as the others have; nothing else is tuned.
   *
   * @param {string} name
   * @param {Subject['level']} mode
   * @param {{ port?: number, bind?: string, server?: string }} [options]
   */
  async haproxy(name, mode, { port, bind = '', server = `127.0.0.1:${this.backendPort}` } = {}) {
    const at = port ?? (await freePort());
    const file = path.join(this.folder, `${name}.cfg`);
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 4000
defaults
  mode ${mode}
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen web
  bind 127.0.0.1:${at}${bind}
  server backend ${server}
`,
    );
    const program = new Program(/** @type {string} */ (findHaproxy()), ['-db', '-f', file]);
    this.programs.push(program);
    await accepting(at);
    return this.add(name, mode, at, program.pid);
  }

  /** What Starlane does between two machines: a proxy at each, and TLS between them, which checks the certificate. */
  async haproxyTls() {
    const [key, certificate, both] = ['key', 'crt', 'pem'].map((name) => path.join(this.folder, `tls.${name}`));
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
    writeFileSync(both, readFileSync(certificate, 'latin1') + readFileSync(key, 'latin1'));
    const port = await freePort();
    await this.haproxy('haproxy-tls-far', 'tcp', { port, bind: ` ssl crt ${both}` });
    const far = /** @type {Subject} */ (this.list.pop());
    const server = `127.0.0.1:${port} ssl verify required ca-file ${certificate} sni str(localhost) verifyhost localhost`;
    await this.haproxy('haproxy-tls', 'tcp', { server });
    this.list[this.list.length - 1].farPid = far.pid;
  }

  async stop() {
    // Those that dial end before those that are dialled.
    for (const program of this.programs.reverse()) await program.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
