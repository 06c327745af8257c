// What a command line may name to be dialled: a service, a node and a port, one instance, or several services.

import { parseServiceAddress } from '../../address.js';
import { parseDestination } from '../../circuit/dial/destination.js';
import { lineOf, usage } from '../failure.js';

/** Returns the text, if it can be dialled. `where` names its place in the error. @throws Failure */
export function checkedTarget(where: string, text: string): string {
  try {
    const destination = parseDestination(text);
    if (typeof destination !== 'string' || parseServiceAddress(destination).kind !== 'port') return text;
  } catch (error) {
    throw usage(`${where}: ${lineOf(error)}`);
  }
  throw usage(`${where}: needs the name of a service`);
}
