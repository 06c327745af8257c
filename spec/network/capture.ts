// What passes over the loopback interface, as tcpdump sees it.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

import type { Obstacle } from '../support/obstacle.js';

const LAST_WORD = 'this is the last word of the capture';

/** Why nothing can be captured here; undefined when it can. */
export function captureObstacle(): Obstacle | undefined {
  if (process.platform !== 'linux') return { reason: 'the interface lo is one of Linux', isMissing: false };
  try {
    execFileSync('tcpdump', ['--version'], { stdio: 'ignore' });
  } catch {
    return { reason: 'tcpdump missing: apt-get install tcpdump', isMissing: true };
  }
  return process.getuid?.() === 0 ? undefined : { reason: 'only root may capture', isMissing: false };
}

/** Every packet from and to some ports, until {@link stop}. */
export class Capture {
  private readonly chunks: Buffer[] = [];
  private onChunk = (): void => {};

  private constructor(
    private readonly tcpdump: ChildProcess,
    /** Sends the marker of the end. */
    private readonly marker: Server,
  ) {
    tcpdump.stdout?.on('data', (chunk) => {
      this.chunks.push(chunk);
      this.onChunk();
    });
  }

  static async start(ports: readonly number[]): Promise<Capture> {
    const marker = createServer((socket) => socket.end(LAST_WORD)).listen(0, '127.0.0.1');
    await once(marker, 'listening');
    const filter = [...ports, (marker.address() as AddressInfo).port].map((port) => `tcp port ${port}`).join(' or ');
    const options = ['-i', 'lo', '--immediate-mode', '-s', '0', '-B', '65536', '-U', '-w', '-', filter];
    const tcpdump = spawn('tcpdump', options, { stdio: ['ignore', 'pipe', 'pipe'] });
    const capture = new Capture(tcpdump, marker);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      tcpdump.once('exit', () => reject(new Error(said)));
      tcpdump.stderr?.on('data', (chunk) => {
        said += chunk;
        if (said.includes('listening on')) resolve();
      });
    });
    tcpdump.removeAllListeners('exit');
    return capture;
  }

  /** All that passed before. What is captured lags behind, but in order: it is complete when the marker is there. */
  async stop(): Promise<Buffer> {
    const socket = connect((this.marker.address() as AddressInfo).port, '127.0.0.1').resume();
    await once(socket, 'close');
    await new Promise<void>((resolve) => {
      this.onChunk = () => {
        if (Buffer.concat(this.chunks).includes(LAST_WORD)) resolve();
      };
      this.onChunk();
    });
    this.kill();
    return Buffer.concat(this.chunks);
  }

  kill(): void {
    this.marker.close();
    this.tcpdump.kill('SIGKILL');
  }
}

/** The port of a link address. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
