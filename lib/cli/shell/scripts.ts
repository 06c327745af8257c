// Scripts of bash, zsh and fish that complete commands, flags, and the values of flags that have choices or are files.

import { type Flag, type Flags, kebab } from '../flags.js';

/** What can be completed: commands with all of their flags, and those below them. */
export type Completions = ReadonlyArray<{
  readonly name: string;
  readonly summary: string;
  readonly flags: Flags;
  /** Names of the commands below it. */
  readonly words: readonly string[];
}>;

const FILES: ReadonlySet<string | undefined> = new Set(['FILE', 'FOLDER', 'PATH']);

/** Words of the flag as they are typed: `--relay` and `--no-relay`. */
function wordsOf(name: string, { kind, otherwise, short }: Flag): string[] {
  const words = kind === 'boolean' && otherwise === 'true' ? [`--no-${kebab(name)}`] : [`--${kebab(name)}`];
  return short === undefined ? words : [...words, `-${short}`];
}

export function bashScript(commands: Completions): string {
  const cases = commands.map(({ name, flags, words: below }) => {
    const entries = Object.entries(flags);
    const values = entries
      .filter(([, { kind }]) => kind !== 'boolean')
      .map(
        ([flag, definition]) => `        ${wordsOf(flag, definition).join('|')}) ${bashValues(definition)}; return ;;`,
      );
    const words = [...entries.flatMap(([flag, definition]) => wordsOf(flag, definition)), '--help'].join(' ');
    return `    ${name})
      case $prev in
${values.join('\n')}
      esac
      case $cur in
        -*) COMPREPLY=($(compgen -W '${words}' -- "$cur")) ;;
        *) COMPREPLY=($(compgen ${below.length === 0 ? '' : `-W '${below.join(' ')}' `}-f -- "$cur")) ;;
      esac ;;`;
  });
  return `# bash completion of starlane
_starlane() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      --) return ;;
      -*) ;;
      *) [ -n "$command" ] || command=$word ;;
    esac
  done
  case $command in
    '') COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')} --help --version' -- "$cur")) ;;
${cases.join('\n')}
  esac
}
complete -o filenames -F _starlane starlane
`;
}

function bashValues({ choices, value }: Flag): string {
  if (choices !== undefined) return `COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$cur"))`;
  return FILES.has(value) ? 'COMPREPLY=($(compgen -f -- "$cur"))' : 'COMPREPLY=()';
}

export function zshScript(commands: Completions): string {
  const list = commands
    .map(({ name, summary }) => `    ${quoted(`${name}:${summary.replaceAll(':', '\\:')}`)}`)
    .join('\n');
  const cases = commands.map(({ name, flags, words: below }) => {
    const first = below.length === 0 ? [] : [`        ${quoted(`1:command:(${below.join(' ')})`)}`];
    const specs = Object.entries(flags).map(([flag, definition]) => `        ${quoted(zshSpec(flag, definition))}`);
    return `      ${name}) _arguments -s \\\n${[...specs, `        ${quoted('--help[print help]')}`, ...first, `        '*:argument:_files'`].join(' \\\n')} ;;`;
  });
  return `#compdef starlane
_starlane() {
  local -a commands
  commands=(
${list}
  )
  local state line
  _arguments -C '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
${cases.join('\n')}
      esac ;;
  esac
}
if [ "$funcstack[1]" = _starlane ]; then _starlane "$@"; else compdef _starlane starlane; fi
`;
}

function zshSpec(name: string, flag: Flag): string {
  const { kind, about, value, choices } = flag;
  const [word] = wordsOf(name, flag);
  const text = about.replace(/[[\]:]/g, (sign) => `\\${sign}`);
  const many = kind === 'list' ? '*' : '';
  if (kind === 'boolean') return `${word}[${text}]`;
  const values = choices === undefined ? (FILES.has(value) ? '_files' : ' ') : `(${choices.join(' ')})`;
  return `${many}${word}[${text}]:${(value ?? kind).toLowerCase().replaceAll(':', '\\:')}:${values}`;
}

export function fishScript(commands: Completions): string {
  const lines = commands.flatMap(({ name, summary, flags, words }) => [
    `complete -c starlane -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
    ...words.map((word) => `complete -c starlane -n '__fish_seen_subcommand_from ${name}' -a ${word}`),
    ...Object.entries(flags).map(([flag, definition]) => {
      const { kind, about, choices, value, short } = definition;
      const [word] = wordsOf(flag, definition);
      const parts = [`complete -c starlane -n '__fish_seen_subcommand_from ${name}' -l ${word.slice(2)}`];
      if (short !== undefined) parts.push(`-s ${short}`);
      if (kind !== 'boolean') parts.push(FILES.has(value) ? '-r' : '-x');
      if (choices !== undefined) parts.push(`-a ${quoted(choices.join(' '))}`);
      return `${parts.join(' ')} -d ${quoted(about)}`;
    }),
  ]);
  return `# fish completion of starlane\n${lines.join('\n')}\n`;
}

/** Returns the text in single quotes of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
