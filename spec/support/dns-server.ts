// A DNS server of specs, over UDP on loopback: enough of RFC 1035 for A, AAAA and SRV.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';

const TYPES = { A: 1, AAAA: 28, SRV: 33 } as const;
type Type = keyof typeof TYPES;

const SERVFAIL = 2;
const NXDOMAIN = 3;

interface Answer {
  readonly ttl: number;
  readonly data: Buffer;
}

export class DnsServer {
  /** Names that were asked for, as `A seeds.test`. */
  readonly asked: string[] = [];
  /** What it does with every question. */
  mode: 'answers' | 'fails' | 'is silent' = 'answers';
  private readonly records = new Map<string, Answer[]>();

  private constructor(private readonly socket: Socket) {
    socket.on('message', (message, from) => this.onQuestion(message, from));
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new DnsServer(socket);
  }

  get address(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }

  /** Sets the addresses of a name; none: there are no more. */
  set(name: string, addresses: readonly string[], ttl = 60): void {
    const isV6 = (address: string): boolean => address.includes(':');
    this.put(
      'A',
      name,
      addresses.filter((one) => !isV6(one)).map((one) => ({ ttl, data: Buffer.from(one.split('.').map(Number)) })),
    );
    this.put(
      'AAAA',
      name,
      addresses.filter(isV6).map((one) => ({ ttl, data: v6(one) })),
    );
  }

  setServices(
    name: string,
    services: ReadonlyArray<[priority: number, weight: number, port: number, target: string]>,
  ): void {
    const answers = services.map(([priority, weight, port, target]) => {
      const head = Buffer.alloc(6);
      head.writeUInt16BE(priority, 0);
      head.writeUInt16BE(weight, 2);
      head.writeUInt16BE(port, 4);
      return { ttl: 60, data: Buffer.concat([head, labels(target)]) };
    });
    this.put('SRV', name, answers);
  }

  async close(): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }

  private put(type: Type, name: string, answers: Answer[]): void {
    if (answers.length > 0) this.records.set(`${type} ${name}`, answers);
    else this.records.delete(`${type} ${name}`);
  }

  private onQuestion(message: Buffer, from: RemoteInfo): void {
    const parts: string[] = [];
    let at = 12;
    for (let length = message[at] as number; length > 0; length = message[at] as number) {
      parts.push(message.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = parts.join('.').toLowerCase();
    const code = message.readUInt16BE(at + 1);
    const end = at + 5;
    const type = Object.keys(TYPES).find((one) => TYPES[one as Type] === code) ?? String(code);
    this.asked.push(`${type} ${name}`);
    if (this.mode === 'is silent') return;
    const isKnown = Object.keys(TYPES).some((one) => this.records.has(`${one} ${name}`));
    const answers = this.mode === 'fails' ? [] : (this.records.get(`${type} ${name}`) ?? []);
    const header = Buffer.from(message.subarray(0, 12));
    const fault = isKnown ? 0 : NXDOMAIN;
    header[2] = 0x84 | ((message[2] as number) & 1);
    header[3] = 0x80 | (this.mode === 'fails' ? SERVFAIL : fault);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    header.writeUInt32BE(0, 8);
    const rows = answers.map(({ ttl, data }) => {
      const row = Buffer.alloc(12);
      row.writeUInt16BE(0xc00c, 0);
      row.writeUInt16BE(code, 2);
      row.writeUInt16BE(1, 4);
      row.writeUInt32BE(ttl, 6);
      row.writeUInt16BE(data.length, 10);
      return Buffer.concat([row, data]);
    });
    this.socket.send(Buffer.concat([header, message.subarray(12, end), ...rows]), from.port, from.address);
  }
}

function labels(name: string): Buffer {
  const parts = name.split('.').filter((part) => part !== '');
  return Buffer.concat([
    ...parts.map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part)])),
    Buffer.from([0]),
  ]);
}

/** Returns the bytes of an address that is written with `::`. */
function v6(text: string): Buffer {
  const [front = [], back = []] = text.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = [...front, ...new Array<string>(8 - front.length - back.length).fill('0'), ...back];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index);
  return bytes;
}

/** Makes every resolver that is made from now on ask this server alone. Returns what undoes it. */
export function useDnsServer(server: DnsServer): () => void {
  const dns = process.getBuiltinModule('node:dns/promises');
  const real = dns.Resolver;
  class SpecResolver extends real {
    constructor(options?: ConstructorParameters<typeof real>[0]) {
      super(options);
      this.setServers([server.address]);
    }
  }
  Object.assign(dns, { Resolver: SpecResolver });
  return () => {
    Object.assign(dns, { Resolver: real });
  };
}
