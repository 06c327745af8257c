// Ends programs when this process is killed, and cannot do it itself: a shell that reads from a pipe, whose other end closes with this
// process. One for all programs. There is none on Windows.

import { type ChildProcess, spawn } from 'node:child_process';

/** Lines: `+ ID` for a process group that must not outlive us, `- ID` for one that has ended. */
const SCRIPT = `
trap '' INT HUP TERM
groups=
while read -r what id; do
  case $what in
    +) groups="$groups $id" ;;
    -) left=; for group in $groups; do [ "$group" = "$id" ] || left="$left $group"; done; groups=$left ;;
  esac
done
[ -n "$groups" ] || exit 0
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
sleep 5
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`;

let watch: ChildProcess | undefined;

/** Ends the process group when this process ends without it. Returns what to call when the group has ended. */
export function watchOver(group: number): () => void {
  watch ??= startWatch();
  const { stdin } = watch;
  stdin?.write(`+ ${group}\n`);
  return () => {
    stdin?.write(`- ${group}\n`);
  };
}

function startWatch(): ChildProcess {
  const child = spawn('/bin/sh', ['-c', SCRIPT], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    env: {},
  });
  child.on('error', () => {});
  child.stdin.on('error', () => {});
  child.once('exit', () => {
    if (watch === child) watch = undefined;
  });
  child.unref();
  // A pipe to a process that was started is a net.Socket.
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}
