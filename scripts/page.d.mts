// Types of page.mjs, for specs.

import type { PageFile } from '../lib/http/monitor/page-files.js';

export function buildPage(): Promise<Record<string, PageFile>>;
