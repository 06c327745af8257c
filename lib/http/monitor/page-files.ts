// The files of the page, ready to be sent. The build puts a module with the bundled files in place of this one (scripts/page.mjs).

export interface PageFile {
  /** The content type. */
  readonly type: string;
  /** Compressed with gzip, in base64. */
  readonly gzip: string;
}

/** By name; undefined in the source, where nothing is bundled. */
export const PAGE_FILES: Readonly<Record<string, PageFile>> | undefined = undefined;
