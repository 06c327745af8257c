// starlane completion

import { CATALOG, loadCommands } from '../catalog.js';
import { defineCommand } from '../command.js';
import { usage } from '../failure.js';
import { type Flags, inWords } from '../flags.js';
import { nodeFlagsOf } from '../run/node-flags.js';
import { SHARED_FLAGS } from '../shared-flags.js';
import { bashScript, type Completions, fishScript, zshScript } from './scripts.js';

const SCRIPTS: Readonly<Record<string, (of: Completions) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export const completion = defineCommand({
  name: 'completion',
  summary: 'print a script for completion in your shell',
  args: [{ name: 'SHELL', about: 'bash, zsh or fish' }],
  flags: {},
  examples: [
    { line: 'source <(starlane completion bash)', about: 'for this shell; put it into ~/.bashrc for all' },
    { line: 'starlane completion zsh > ~/.zsh/functions/_starlane', about: 'for zsh, in a folder of fpath' },
    { line: 'starlane completion fish > ~/.config/fish/completions/starlane.fish', about: 'for fish' },
  ],
  async run(context, [shell]) {
    if (!Object.hasOwn(SCRIPTS, shell))
      throw usage(`completion: must be ${inWords(Object.keys(SCRIPTS))}, not ${shell}`);
    const commands = (await loadCommands()).map(({ name, summary, flags, usesNode, subcommands = [] }) => ({
      name,
      summary: CATALOG.find((entry) => entry.name === name)?.summary ?? summary,
      flags: {
        ...Object.assign({}, ...subcommands.map((below) => below.flags)),
        ...flags,
        ...nodeFlagsOf(usesNode),
        ...SHARED_FLAGS,
      } as Flags,
      words: subcommands.map((below) => below.name.slice(name.length + 1)),
    }));
    context.stdout.write(SCRIPTS[shell](commands));
    return undefined;
  },
});
