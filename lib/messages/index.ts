// What users of `starlane/messages` see.

/// <reference types="node" preserve="true" />

export { type ExportServiceOptions, exportService } from './export/export-service.js';
export type { ServiceExport, ServiceExportEvents, ServiceExportStats } from './export/service-export.js';
export { MessageError, type Outcome } from './outcome.js';
export { BROADCAST_PORT, MESSAGE_PORT, TOPIC_PORT } from './ports.js';
