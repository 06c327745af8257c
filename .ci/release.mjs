// Makes a release: checks that it can be made, runs all checks, sets the version, dates the section of the changelog, commits and tags.
// Publishes nothing without --publish.
//
// npm run release -- patch|minor|major [--dry-run] [--publish]

import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const USAGE = 'usage: npm run release -- patch|minor|major [--dry-run] [--publish]';
const STEPS = ['patch', 'minor', 'major'];
const UNRELEASED = '## Unreleased';
/** What has to pass here. `.ci/run` also audits, measures and tries the package in every Node: CI has to have accepted the commit. */
const CHECKS = ['lint', 'typecheck', 'test:all', 'build', 'check:package'];

/**
 * What the command line asks for. Throws a text for the user.
 * @param {readonly string[]} args
 */
export function parseArguments(args) {
  const steps = args.filter((arg) => !arg.startsWith('--'));
  const flags = new Set(args.filter((arg) => arg.startsWith('--')));
  const isDry = flags.delete('--dry-run');
  const isPublic = flags.delete('--publish');
  const [step] = steps;
  if (steps.length !== 1 || step === undefined || !STEPS.includes(step) || flags.size > 0) throw new Error(USAGE);
  return { step, isDry, isPublic };
}

/**
 * The version after `version`.
 * @param {string} version
 * @param {string} step
 */
export function nextVersion(version, step) {
  const parts = /^(\d+)\.(\d+)\.(\d+)$/.exec(version)?.slice(1).map(Number);
  if (parts === undefined) throw new Error(`not a version: ${version}`);
  const at = { major: 0, minor: 1, patch: 2 }[step];
  if (at === undefined) throw new Error(USAGE);
  return parts.map((part, index) => (index < at ? part : index === at ? part + 1 : 0)).join('.');
}

/**
 * The newest version that the changelog has a date for; 0.0.0 before the first release.
 * @param {string} changelog
 */
export function lastRelease(changelog) {
  return /^## (\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$/m.exec(changelog)?.[1] ?? '0.0.0';
}

/**
 * The lines of the changelog that belong to the next release. Throws when there are none.
 * @param {string} changelog
 */
export function unreleasedNotes(changelog) {
  const [, rest] = changelog.split(`\n${UNRELEASED}\n`);
  if (rest === undefined) throw new Error(`CHANGELOG.md has no section '${UNRELEASED}'`);
  const notes = rest.split(/^## /m)[0]?.trim() ?? '';
  if (notes === '') throw new Error(`the section '${UNRELEASED}' of CHANGELOG.md is empty`);
  return notes;
}

/**
 * The changelog with the unreleased section dated, and an empty one above it.
 * @param {string} changelog
 * @param {string} version
 * @param {string} date as YYYY-MM-DD
 */
export function datedChangelog(changelog, version, date) {
  unreleasedNotes(changelog);
  return changelog.replace(`\n${UNRELEASED}\n`, () => `\n${UNRELEASED}\n\n## ${version} (${date})\n`);
}

/** @param {string[]} args */
function git(...args) {
  return execFileSync('git', args, { encoding: 'utf8' }).trim();
}

/**
 * Why no release can be made from here.
 * @param {string} version
 */
function obstacles(version) {
  const found = [];
  const branch = git('rev-parse', '--abbrev-ref', 'HEAD');
  if (branch !== 'main') found.push(`the branch is ${branch}, not main`);
  if (git('status', '--porcelain') !== '') found.push('the working tree has changes');
  if (git('tag', '--list', `v${version}`) !== '') found.push(`the tag v${version} exists`);
  return found;
}

function main() {
  const { step, isDry, isPublic } = parseArguments(process.argv.slice(2));
  const changelog = readFileSync('CHANGELOG.md', 'utf8');
  const notes = unreleasedNotes(changelog);
  const version = nextVersion(lastRelease(changelog), step);
  const found = obstacles(version);
  for (const obstacle of found) console.error(`release: ${obstacle}`);
  if (found.length > 0) process.exitCode = 1;
  if (found.length > 0 && !isDry) return;

  /** @type {(command: string, ...args: string[]) => void} */
  const run = (command, ...args) => {
    console.log(`${isDry ? 'would run' : 'run'}: ${command} ${args.join(' ').split('\n')[0]}`);
    if (!isDry) execFileSync(command, args, { stdio: 'inherit' });
  };
  for (const check of CHECKS) run('npm', 'run', '--silent', check);
  run('npm', 'version', '--no-git-tag-version', '--allow-same-version', version);
  const dated = datedChangelog(changelog, version, new Date().toISOString().slice(0, 10));
  if (!isDry) writeFileSync('CHANGELOG.md', dated);
  const versionFile = 'lib/util/version.ts';
  if (!isDry) {
    writeFileSync(
      versionFile,
      readFileSync(versionFile, 'utf8').replace(/VERSION = '[^']*'/, `VERSION = '${version}'`),
    );
  }
  run('git', 'add', 'CHANGELOG.md', 'package.json', 'package-lock.json', versionFile);
  run('git', 'commit', '-m', `release: ${version}`);
  run('git', 'tag', '-a', `v${version}`, '-m', `${version}\n\n${notes}`);
  if (isPublic) {
    run('git', 'push', '--follow-tags', 'origin', 'main');
    run('npm', 'publish');
  } else {
    console.log(
      `${version} is ${isDry ? 'not made' : 'committed and tagged'}. --publish pushes it and publishes the package.`,
    );
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
