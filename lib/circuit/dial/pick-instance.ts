// Which instance of a service is dialled, as the selector of the user says.

import { starlaneError } from '../../errors.js';
import type { Selector } from '../../mesh/directory/selector.js';
import type { ServiceInfo, ServiceInstance } from '../../mesh/directory/service.js';

/** Undefined when there is none, or none is wanted. @throws ERR_STARLANE_ARGUMENT, or what the selector throws */
export function pickInstance(candidates: readonly ServiceInstance[], selector: Selector): ServiceInstance | undefined {
  if (candidates.length === 0) return undefined;
  const picked: ServiceInfo | undefined = selector(candidates);
  if (picked === undefined || (candidates as readonly ServiceInfo[]).includes(picked)) {
    return picked as ServiceInstance | undefined;
  }
  throw starlaneError('ERR_STARLANE_ARGUMENT', 'the selector returned what it was not given');
}
