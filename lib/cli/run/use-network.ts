// Runs tasks over a network: with a node of this process, or with the one that runs already with the same credentials.

import type { InviteOptions } from '../../node/enrolment/invite-options.js';
import type { Context } from '../command.js';
import { ControlClient, ControlOverlay } from '../control/client.js';
import { nodeHasEnded } from '../control/request.js';
import { ControlSession } from '../control/session.js';
import { ExitCode } from '../failure.js';
import { HostedTask } from './hosted-task.js';
import { type ChosenNetwork, chooseNetwork, enrolIfNeeded, isThere, type NodeValues, noNetwork } from './network.js';
import { NODE_FLAGS } from './node-flags.js';
import { NodeRun, type NodeRunOptions, type OnStarted, runsAlready } from './node-run.js';
import type { Overlay } from './overlay.js';
import type { Task } from './task.js';
import { TaskSet } from './task-set.js';

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
  const isShared = values.share !== false;
  const client = new ControlClient(network.home.controlSocket(network.key));
  const isMember = network.credentials === undefined || isThere(network.credentials);
  if (isMember && isShared) {
    const session = await ControlSession.open(client.path);
    if (session !== undefined) return shared(context, client, session);
  }
  await enrolIfNeeded(network, values);
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
  if (!isShared) throw runsAlready(network);
  const session = await ControlSession.open(client.path);
  if (session === undefined) throw nodeHasEnded();
  return shared(context, client, session);
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
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    });
    const own = wanted.map((task) =>
      task.nodeWork === undefined ? task : new HostedTask(client, task.nodeWork, task.title),
    );
    const started = tasks.replace(own).then(() => onStarted(own));
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
