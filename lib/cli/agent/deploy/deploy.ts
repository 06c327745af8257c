// starlane deploy

import { type Command, type Context, defineCommand } from '../../command.js';
import { ExitCode, exitCodeOf, lineOf, usage } from '../../failure.js';
import { bytes, span } from '../../inspect/ask.js';
import { printable } from '../../log.js';
import { DEFAULT_TIMEOUT_MS } from '../../run/network.js';
import { nodeValues } from '../../run/use-network.js';
import { type Activation, LOG_FOLLOWS } from '../apps/app.js';
import { bytesIn } from '../bundle/manifest.js';
import { type BundleSource, writeBundle } from '../bundle/source.js';
import { type Host, withHosts } from '../hosts.js';
import { SigningKey } from '../signer.js';
import { DeploySteps } from './host-steps.js';
import { logs } from './logs.js';
import { checkedApp, DEPLOY_FLAGS, type DeployValues, sourceOf } from './options.js';
import { type HostOutcome, plainError, type RolloutResult, rollOut } from './rollout.js';
import { deployStatus, remove, restart, rollback, start, stop } from './subcommands.js';

async function run(context: Context, [given]: readonly string[], values: DeployValues): Promise<number> {
  const { output } = context;
  if (values.initKey !== undefined) {
    const { signer } = SigningKey.create(values.initKey);
    output.json({ key: values.initKey, signer });
    output.line(signer);
    output.note(`The key is in ${values.initKey}. Hosts accept its bundles with --signers ${signer}`);
    return ExitCode.OK;
  }
  const app = checkedApp(given);
  if (values.pack === undefined && (values.to ?? []).length === 0)
    throw usage(`deploy ${app}: needs --to with hosts, or --pack with a file`);
  const source = await sourceOf(app, values, context.program);
  const { number, version, files } = source.manifest;
  const what = `${app} ${version} (${number}): ${files.length} ${files.length === 1 ? 'file' : 'files'}, ${bytes(bytesIn(source.manifest))}`;
  if (values.pack !== undefined) {
    await writeBundle(source, values.pack);
    output.json({ bundle: values.pack, app, number, version, files: files.length, bytes: bytesIn(source.manifest) });
    output.line(`packed ${what}, to ${values.pack}`);
    return ExitCode.OK;
  }
  return withHosts(context, values.to, async (hosts) => {
    output.note(`deploying ${what}, to ${hosts.length === 1 ? hosts[0].name : `${hosts.length} hosts`}`);
    const result = await rollOutTo(context, source, hosts, values);
    report(context, source, result);
    const [failure] = result.outcomes.flatMap(({ error }) => error ?? []);
    return result.isDone ? ExitCode.OK : failure === undefined ? ExitCode.FAILURE : exitCodeOf(failure);
  });
}

async function rollOutTo(
  context: Context,
  source: BundleSource,
  hosts: readonly Host[],
  { parallel = 1, maxFailures = 0, rollback: undoes = true }: DeployValues,
): Promise<RolloutResult<Host>> {
  const aborter = new AbortController();
  const abort = () => aborter.abort(new Error('the rollout was interrupted'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, abort);
  const steps = new DeploySteps(source, {
    reachMs: nodeValues(context).timeout ?? DEFAULT_TIMEOUT_MS,
    restores: undoes,
  });
  try {
    return await rollOut<Host, Activation>(hosts, steps, {
      parallel,
      maxFailures,
      undoes,
      signal: aborter.signal,
      onState: ({ host, state, tookMs, error }) => {
        const [line, log] = error === undefined ? [] : faultAndLog(error);
        const why = line === undefined ? '' : `: ${line}`;
        context.output.note(`${host.name}: ${state}${state === 'skipped' ? '' : ` (${span(tookMs)})`}${why}`);
        for (const text of log ?? []) context.output.note(`${host.name} | ${text}`);
      },
    });
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, abort);
  }
}

/** Returns what a host has failed with in one line, and the last lines of the app. */
function faultAndLog(error: unknown): readonly [fault: string, log: readonly string[]] {
  const [fault] = lineOf(error).split(LOG_FOLLOWS);
  const { message } = error as Error;
  const at = message.indexOf(LOG_FOLLOWS);
  if (at < 0) return [fault, []];
  const log = message.slice(at + LOG_FOLLOWS.length).split('\n');
  // What an app prints must not move the cursor of a terminal.
  return [fault, log.map((text) => printable(text.replaceAll('\t', '  ')))];
}

function report({ output }: Context, { manifest }: BundleSource, { isDone, outcomes }: RolloutResult<Host>): void {
  const { app, number, version } = manifest;
  if (output.isJson) {
    const hosts = outcomes.map(({ host, state, tookMs, error }) => ({
      host: host.name,
      id: host.client.nodeId,
      state,
      tookMs: Math.round(tookMs),
      ...(error === undefined ? {} : { error: plainError(error) }),
    }));
    output.json({ app, number, version, done: isDone, hosts });
    return;
  }
  output.table<HostOutcome<Host>>(
    outcomes,
    {
      host: ({ host }) => host.name,
      state: ({ state }) => state,
      took: ({ state, tookMs }) => (state === 'skipped' ? undefined : span(tookMs)),
      // Its notes have shown the log.
      error: ({ error }) => (error === undefined ? undefined : faultAndLog(error)[0]),
    },
    'No host was named.',
  );
}

export const deploy: Command = defineCommand({
  name: 'deploy',
  summary: 'run an app on hosts that have an agent, and follow it',
  description:
    'It packs and signs a folder, sends it to each host, waits there until it is healthy, and goes on. When a host fails, those that are done go back to what they ran before.',
  args: [{ name: 'APP', about: 'the name of the app', isOptional: true }],
  usesNode: true,
  section: 'entries',
  flags: DEPLOY_FLAGS,
  examples: [
    { line: 'starlane deploy --init-key deploy.pem', about: 'once: a key, and what hosts need to accept its bundles' },
    {
      line: 'starlane deploy web --from ./web --key deploy.pem --to host1,host2 --service web --check /health -- node server.js',
      about: 'one host after the other',
    },
    {
      line: 'starlane deploy web --from web.tar.gz --to tag:web --parallel 4',
      about: 'what --pack has written, elsewhere',
    },
  ],
  subcommands: [deployStatus, logs, start, stop, restart, rollback, remove],
  run,
});
