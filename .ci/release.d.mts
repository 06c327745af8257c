export function parseArguments(args: readonly string[]): { step: string; isDry: boolean; isPublic: boolean };
export function nextVersion(version: string, step: string): string;
export function lastRelease(changelog: string): string;
export function unreleasedNotes(changelog: string): string;
export function datedChangelog(changelog: string, version: string, date: string): string;
