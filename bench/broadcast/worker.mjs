// One participant in a process of its own: `node worker.mjs URL-of-starlane URL-of-messages`. It runs commands that come as messages of its
// parent, `{ id, do, ... }`, and answers each with `{ id, ... }`.

const [starlane, messages] = await Promise.all(process.argv.slice(2, 4).map((url) => import(url)));

/** Links only as the parent says. */
const node = starlane.createNode({ role: 'server', rejoinMinMs: 20, rejoinMaxMs: 200 });
node.on('warning', () => {});
const listener = await node.listenAndServe('tcp://127.0.0.1:0');

/** What came: by the name of the broadcast. */
const got = new Map();
const casts = new Map();
const gaps = [];
let sent = 0;

const commands = {
  about: () => ({ nodeId: node.id, address: listener.address }),
  join: async ({ address }) => {
    await node.join(address);
    return {};
  },
  cast: ({ name }) => {
    const list = [];
    got.set(name, list);
    const cast = messages.broadcast(node, name).onMessage(({ data, from, hops }) => {
      list.push([from, data.number, Date.now() - data.atMs, hops]);
    });
    cast.on('gap', (gap) => gaps.push(gap));
    casts.set(name, cast);
    return {};
  },
  close: ({ name }) => {
    casts.get(name).close();
    return {};
  },
  stats: ({ name }) => ({ stats: casts.get(name).stats() }),
  send: ({ name }) => {
    const atMs = Date.now();
    casts.get(name).send({ number: ++sent, atMs, filling: 'x'.repeat(200) });
    return { number: sent, atMs };
  },
  report: ({ name }) => ({ got: got.get(name), gaps }),
};

process.on('message', async ({ id, do: what, ...rest }) => {
  try {
    process.send({ id, ...(await commands[what](rest)) });
  } catch (error) {
    process.send({ id, failed: String(error?.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit());
