// Runs tasks over a network: with a node of this process, or with the one that runs already with the same credentials.

import type { InviteOptions } from '../../node/enrolment/invite-options.js';
import type { Context } from '../command.js';
import { ControlClient, ControlOverlay } from '../control/client.js';
import { nodeHasEnded } from '../control/request.js';
import { ControlSession } from '../control/session.js';
import { ExitCode, Failure } from '../failure.js';
import { kebab } from '../flags.js';
import { HostedTask } from './hosted-task.js';
import { type ChosenNetwork, chooseNetwork, DEFAULT_TIMEOUT_MS, type NodeValues, noNetwork } from './network.js';
import { NODE_FLAGS } from './node-flags.js';
import { NodeRun, type NodeRunOptions, type OnStarted, runsAlready } from './node-run.js';
import type { Overlay } from './overlay.js';
import type { Task } from './task.js';
import { TaskSet } from './task-set.js';

/** How often it looks for a node that ends while it is asked. */
const ATTEMPTS = 3;
/** A drain has a deadline of its own; this is for a process that hangs. */
const LONGEST_DRAIN_MS = 10 * 60_000;

/** A network that can be used: dialled, bound, and closed. */
export interface Access {
  readonly overlay: Overlay;
  /** The node of this process; undefined where another process has it. */
  readonly run: NodeRun | undefined;
  /** Returns a token for another machine. @throws ERR_STARLANE_AUTHORITY and others of Node.invite */
  invite(options: InviteOptions): Promise<string>;
  /** Returns the link addresses where the node listens. */
  listens(): Promise<readonly string[]>;
  /** Runs tasks until a signal ends the process. */
  work(tasks: readonly Task[], onStarted?: OnStarted): Promise<number>;
  close(): Promise<void>;
}

/** Returns what the command line, the environment and the file say about the node. @throws Failure */
export function nodeValues({ config }: Context): NodeValues {
  return config.shared(NODE_FLAGS);
}

/**
 * Makes this machine a member if a token says so, and uses the node that runs already, or starts one.
 * @throws Failure, or an error with a code
 */
export async function useNetwork(context: Context, options: NodeRunOptions = {}): Promise<Access> {
  const values = nodeValues(context);
  const network = chooseNetwork(values, context.environment);
  if (network.credentials === undefined && network.seeds.length === 0 && (values.listen ?? []).length === 0)
    throw noNetwork();
  return useChosen(context, network, values, options);
}

/** As {@link useNetwork}, for a network that has been chosen. */
export async function useChosen(
  context: Context,
  network: ChosenNetwork,
  values: NodeValues,
  options: NodeRunOptions = {},
): Promise<Access> {
  const client = new ControlClient(network.home.controlSocket(network.key));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (values.share !== false) {
      const session = await ControlSession.open(client.path);
      if (session?.ends) {
        context.output.note('starlane: waiting for the node that ends here');
        await endOf(session, LONGEST_DRAIN_MS);
        continue;
      }
      if (session !== undefined && (session.offers || options.isClient === true)) {
        warnOfIdleFlags(context, network);
        return shared(context, client, session);
      }
      if (session !== undefined) await endOfClient(session, values.timeout ?? DEFAULT_TIMEOUT_MS);
    }
    const run = await NodeRun.start(context, network, values, options);
    if (run !== undefined) {
      return {
        overlay: run.overlay,
        run,
        invite: (options) => run.node.invite(options),
        listens: async () => run.addresses,
        work: (tasks, onStarted) => run.work(tasks, onStarted),
        close: () => run.close(),
      };
    }
    if (values.share === false) throw runsAlready(network);
    // Another command has come first, or is about to end.
  }
  throw nodeHasEnded();
}

/** Flags that say what a node does, and not which one it is. */
const OF_NODE = ['listen', 'advertise', 'env', 'role', 'relay', 'insecure', 'via', 'noProxy', 'resilience'] as const;

/** Says which flags of the command line the node that runs already does not follow. */
function warnOfIdleFlags({ commandLine, log }: Context, { seeds }: ChosenNetwork): void {
  const idle: string[] = OF_NODE.filter((name) => commandLine[name] !== undefined);
  if (seeds.length > 0 && commandLine['join'] !== undefined) idle.push('join');
  if (idle.length === 0) return;
  const flags = idle.map((name) => `--${kebab(name)}`).join(', ');
  log.warn(`${flags}: without effect, as this command uses the node that runs already; see starlane status`);
}

/** Resolves with whether the process of the node has ended in time. */
async function endOf(session: ControlSession, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const isEnded = await Promise.race([
    new Promise<boolean>((resolve) => session.whenLost(() => resolve(true))),
    new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    }),
  ]);
  clearTimeout(timer);
  session.close();
  return isEnded;
}

/** Waits for the end of a command whose node announces nothing, as those that ask something have. @throws Failure when it goes on */
async function endOfClient(session: ControlSession, timeoutMs: number): Promise<void> {
  if (await endOf(session, timeoutMs)) return;
  throw new Failure(
    'the node that runs here belongs to a command that announces nothing, such as starlane connect or a node with --role client; end that one first, or run all of it with starlane up',
    ExitCode.BUSY,
  );
}

/** Uses the node of another process. */
function shared(context: Context, client: ControlClient, session: ControlSession): Access {
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const overlay = new ControlOverlay(client, session, (error) => fail(error));
  const tasks = new TaskSet({ overlay, log: context.log, fail: (error) => fail(error) });
  const close = async () => {
    await tasks.stop(AbortSignal.abort());
    session.close();
  };
  const work = async (wanted: readonly Task[], onStarted: OnStarted = () => {}): Promise<number> => {
    const ended = new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
    });
    const own = wanted.map((task) =>
      task.nodeWork === undefined ? task : new HostedTask(client, task.nodeWork, task.title),
    );
    const started = tasks.replace(own).then(() => {
      // The process with the node knows those that it does for this one.
      session.report(own.filter((task) => !(task instanceof HostedTask)).map(({ title }) => title));
      return onStarted(own);
    });
    try {
      const isEnded = await Promise.race([failed, ended.then(() => true), started.then(() => false)]);
      if (!isEnded) await Promise.race([failed, ended]);
    } catch (error) {
      await close();
      throw error;
    }
    process.once('SIGINT', () => process.exit(130));
    process.once('SIGTERM', () => process.exit(143));
    await tasks.stop(AbortSignal.timeout(Math.max(1, nodeValues(context).drainTimeout ?? 30_000)));
    session.close();
    return ExitCode.OK;
  };
  return {
    overlay,
    run: undefined,
    invite: async (options) => ((await client.post('/control/invite', options)) as { token: string }).token,
    listens: async () => ((await client.get('/control/status')) as { listen: readonly string[] }).listen,
    work,
    close,
  };
}
