// The environment of programs that are started for a service.

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns what a program gets: everything but the variables of this command, which hold secrets of the node. `pass` names those that it
 * gets all the same.
 */
export function environmentFor(own: Environment, pass: readonly string[], more: Environment): Environment {
  const kept = Object.entries(own).filter(
    ([name]) => !name.toUpperCase().startsWith('STARLANE_') || pass.includes(name),
  );
  return { ...Object.fromEntries(kept), ...more };
}
