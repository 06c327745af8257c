// mqtt.js against a real Mosquitto: with a stream builder of ours, and unchanged under the preload.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type IClientOptions, type IClientPublishOptions, type IPublishPacket, MqttClient } from 'mqtt';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { linkedNodes } from './linked-nodes.js';
import { MOSQUITTO, type MosquittoServer, startMosquitto } from './mosquitto-server.js';
import { publish } from './publish.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';
import { describeWithPrograms } from './server-program.js';

const MIB = 1024 * 1024;

interface Message {
  topic: string;
  payload: Buffer;
  packet: IPublishPacket;
}

const SCRIPT = `
  const client = await mqtt.connectAsync('mqtt://broker.starlane');
  await client.subscribeAsync('news/#', { qos: 2 });
  const received = [];
  const all = new Promise((resolve) => {
    client.on('message', (topic, payload) => received.push([topic, payload.length]) === 3 && resolve());
  });
  for (const qos of [0, 1, 2]) await client.publishAsync('news/' + qos, 'x'.repeat(10 ** (qos * 3)), { qos });
  await all;
  say({ received });
  await client.endAsync();`;

const HEADERS = { module: `import mqtt from 'mqtt';`, commonjs: `const mqtt = require('mqtt');` };

describeWithPrograms('mqtt.js', MOSQUITTO, () => {
  let server: MosquittoServer;
  beforeAll(async () => {
    server = await startMosquitto();
  }, 90_000);
  afterAll(() => server.stop());

  describe('with a stream builder', () => {
    const nodes = linkedNodes();
    beforeEach(() => {
      publish(nodes.listener, 'broker', { path: server.path });
    });

    function client(options: IClientOptions = {}, service = 'broker'): MqttClient {
      const client = new MqttClient(() => nodes.netDial(service, { timeoutMs: 1000 }), {
        clientId: randomBytes(8).toString('hex'),
        reconnectPeriod: 1,
        ...options,
      });
      client.on('error', () => {}); // Specs look at what happens next.
      nodes.finally(() => client.endAsync(true));
      return client;
    }

    async function connected(options: IClientOptions = {}): Promise<MqttClient> {
      const made = client(options);
      await within('the connection', emitted(made, 'connect'));
      return made;
    }

    /** The next so many messages. */
    function messages(client: MqttClient, count: number): Promise<Message[]> {
      const received: Message[] = [];
      const all = new Promise<Message[]>((resolve) => {
        client.on('message', (topic, payload, packet) => {
          if (received.push({ topic, payload, packet }) === count) resolve(received);
        });
      });
      return within('the messages', all);
    }

    it.each([0, 1, 2] as const)('carries 1,000 messages in order with quality of service %s', async (qos) => {
      const [subscriber, publisher] = [await connected(), await connected()];
      await within('the subscription', subscriber.subscribeAsync('news', { qos }));
      const received = messages(subscriber, 1000);
      const sent = Array.from({ length: 1000 }, (_, count) => `message ${count}`);
      await within('publishing', Promise.all(sent.map((text) => publisher.publishAsync('news', text, { qos }))));
      expect((await received).map(({ payload }) => String(payload))).toEqual(sent);
    });

    it('carries a message of 10 MiB', async () => {
      const [subscriber, publisher] = [await connected(), await connected()];
      await within('the subscription', subscriber.subscribeAsync('large'));
      const received = messages(subscriber, 1);
      const payload = randomBytes(10 * MIB);
      await within('publishing', publisher.publishAsync('large', payload, { qos: 1 }));
      expect((await received)[0].payload.equals(payload)).toBe(true);
    });

    it('receives retained messages, and only those of its topics', async () => {
      const publisher = await connected();
      const retain: IClientPublishOptions = { qos: 1, retain: true };
      await within('publishing', publisher.publishAsync('rooms/1/light', 'on', retain));
      await within('publishing', publisher.publishAsync('rooms/1/door', 'open', retain));
      const subscriber = await connected();
      const received = messages(subscriber, 2);
      await within('the subscription', subscriber.subscribeAsync('rooms/+/light'));
      await within('publishing', publisher.publishAsync('rooms/2/light', 'off', { qos: 1 }));
      expect((await received).map(({ topic, payload, packet }) => [topic, String(payload), packet.retain])).toEqual([
        ['rooms/1/light', 'on', true],
        ['rooms/2/light', 'off', false],
      ]);
    });

    it('publishes its will when the link is lost', async () => {
      const leaving = await connected({
        reconnectPeriod: 0,
        will: { topic: 'wills', payload: Buffer.from('gone'), qos: 1, retain: true },
      });
      const lost = emitted(leaving, 'close');
      nodes.cut();
      await within('the end of the connection', lost);
      const subscriber = await connected();
      const received = messages(subscriber, 1);
      await within('the subscription', subscriber.subscribeAsync('wills', { qos: 1 }));
      expect(String((await received)[0].payload)).toBe('gone');
    });

    it('connects again over a link that was lost, with its session', async () => {
      const subscriber = await connected({ clean: false });
      await within('the subscription', subscriber.subscribeAsync('later', { qos: 1 }));
      const lost = emitted(subscriber, 'close');
      const again = emitted(subscriber, 'connect');
      nodes.cut();
      await within('the end of the connection', lost);
      await within('the new connection', again);
      const received = messages(subscriber, 1);
      await within('publishing', (await connected()).publishAsync('later', 'still here', { qos: 1 }));
      expect(String((await received)[0].payload)).toBe('still here');
    });

    it('pings an idle broker', async () => {
      const idle = await connected({ keepalive: 1 });
      await within(
        'two answers',
        (async () => {
          for (let answers = 0; answers < 2; ) {
            if ((await emitted<{ cmd: string }>(idle, 'packetreceive')).cmd === 'pingresp') answers++;
          }
        })(),
      );
      expect(idle.connected).toBe(true);
    });

    it('gets an error for a service that does not exist', async () => {
      const lost = client({ reconnectPeriod: 0 }, 'nowhere');
      expect(await within('the refusal', emitted(lost, 'error'))).toMatchObject({ code: 'ENOTFOUND' });
    });
  });

  describe.each(WAYS)('under the preload, %s', (way) => {
    const network = scriptNetwork(way);
    beforeEach(() => {
      publish(network.server, 'broker', { path: server.path });
    });

    it.each(['module', 'commonjs'] as const)(
      'reaches a broker by name (%s)',
      async (kind) => {
        const lines = await network.run(kind, `${HEADERS[kind]}\n(async () => {${SCRIPT}})();`);
        expect(lines).toEqual([
          {
            received: [
              ['news/0', 1],
              ['news/1', 1000],
              ['news/2', 1_000_000],
            ],
          },
        ]);
      },
      SCRIPT_SPEC_MS,
    );
  });
});
