// The id of a job as people use it: HOST/UUID, so that it says where to ask.

import { usage } from '../../../failure.js';
import { isJobId } from '../record.js';

export interface JobName {
  /** The name of a member, or `@nodeId`. */
  readonly host: string;
  readonly id: string;
}

export function jobName({ host, id }: JobName): string {
  return `${host}/${id}`;
}

/** @throws Failure */
export function parseJobName(where: string, text: string): JobName {
  const at = text.lastIndexOf('/');
  const [host, id] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || !isJobId(id))
    throw usage(`${where}: ${text} is no job: its id is HOST/UUID, as starlane job run prints it`);
  return { host, id };
}
