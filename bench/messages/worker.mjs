// A process of a case: it opens its carrier, begins its role, and does what the parent calls.

const [caseUrl, carrier, role, index] = process.argv.slice(2);
/** @type {any} */
let methods = {};
/** @type {any[]} */
const opened = [];

const actions = {
  /** @param {string | undefined} address */
  async open(address) {
    const { open } = await import(new URL(`./carriers/${carrier}.mjs`, import.meta.url).href);
    const { benchCase } = await import(caseUrl);
    const openOne = async () => {
      const bus = await open(address);
      opened.push(bus);
      return bus;
    };
    const bus = await openOne();
    methods = await benchCase.roles[role]({ index: Number(index), carrier, open: openOne, bus });
    for (const one of opened) await one.flush?.();
    return bus.address;
  },
  /** @param {string} name @param {any[]} args */
  call: (name, args) => methods[name](...args),
  async close() {
    for (const bus of opened) await bus.close();
  },
};

process.on('message', async (/** @type {any} */ { id, action, args }) => {
  try {
    const value = await actions[/** @type {keyof typeof actions} */ (action)](...args);
    process.send?.({ id, value });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
process.on('disconnect', () => process.exit());
