// What apps and jobs get of the agent's own environment: nothing that could hold a secret.

const INHERITED = [
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR'],
  // Windows runs nothing without these.
  ...['SystemRoot', 'PATHEXT'],
];

/** Returns the variables that a program gets of the agent's own. `pass` names more of them. */
export function inheritedFrom(
  own: Readonly<Record<string, string | undefined>>,
  pass: readonly string[],
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const name of [...INHERITED, ...pass]) {
    const value = own[name];
    if (value !== undefined) variables[name] = value;
  }
  return variables;
}
