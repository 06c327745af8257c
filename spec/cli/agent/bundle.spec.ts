// What a host takes as a bundle, and what it does not: each case is a kind of attack on programs that unpack tars.

import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type TarEntry as ModernEntry, packTar, unpackTar } from 'modern-tar';
import { HeadReader, verifyHead } from '../../../lib/cli/agent/bundle/head.js';
import { type Manifest, parseManifest } from '../../../lib/cli/agent/bundle/manifest.js';
import { listFolder, tarOf } from '../../../lib/cli/agent/bundle/pack.js';
import { pathFault } from '../../../lib/cli/agent/bundle/paths.js';
import { headerOf } from '../../../lib/cli/agent/bundle/tar-header.js';
import { fileEntry, Unpacker } from '../../../lib/cli/agent/bundle/unpack.js';
import { parseSigner } from '../../../lib/cli/agent/signer.js';
import { bundleOf, type Contents, manifestOf, newKey, tarBytes } from '../../support/bundles.js';

const key = newKey();
const signers = [parseSigner(key.signer)].flatMap((signer) => signer ?? []);
let folder = '';
let target = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-bundle-'));
  target = join(folder, 'target');
  mkdirSync(target);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const BUNDLE = { code: 'ERR_STARLANE_BUNDLE' };
const FILES: Contents = { 'main.mjs': 'console.log(1)', 'lib/a.js': 'a'.repeat(1_500), 'lib/empty': '' };

const unpack = (manifest: Manifest, tar: Uint8Array) => new Unpacker(manifest, target).take(Readable.from([tar]));
const parsed = (manifest: unknown) => parseManifest(Buffer.from(JSON.stringify(manifest)));

/** Nothing is there but what lies in the target, and that is what the manifest says. */
function outside(): string[] {
  return readdirSync(folder).filter((name) => name !== 'target');
}

describe('a bundle', () => {
  it('becomes the files and folders of its manifest', async () => {
    const manifest = manifestOf(FILES, { folders: ['var/run'] });
    await unpack(parsed(manifest), tarBytes(FILES, manifest));
    expect(readFileSync(join(target, 'lib/a.js'), 'utf8')).toBe(FILES['lib/a.js']);
    expect(readdirSync(target).sort()).toEqual(['lib', 'main.mjs', 'var']);
    expect(lstatSync(join(target, 'var/run')).isDirectory()).toBe(true);
  });

  it('comes in pieces of any size', async () => {
    const manifest = manifestOf(FILES);
    const tar = tarBytes(FILES, manifest);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 30 }), async (sizes) => {
        rmSync(target, { recursive: true });
        mkdirSync(target);
        const pieces: Buffer[] = [];
        for (let at = 0, index = 0; at < tar.length; index++) {
          const size = sizes[index % sizes.length];
          pieces.push(tar.subarray(at, at + size));
          at += size;
        }
        await new Unpacker(manifest, target).take(Readable.from(pieces));
        expect(readFileSync(join(target, 'main.mjs'), 'utf8')).toBe(FILES['main.mjs']);
      }),
      { numRuns: 20 },
    );
  });

  it('is a tar that other programs read', async () => {
    const { head, tar } = bundleOf(FILES, key);
    const entries = await unpackTar(Buffer.concat([head, tar]));
    expect(entries.map(({ header: { name } }) => name)).toEqual([
      'manifest.json',
      'signature.json',
      'files/main.mjs',
      'files/lib/a.js',
      'files/lib/empty',
    ]);
  });

  it('is made from a folder, with the modes that matter', async () => {
    const manifest = manifestOf(FILES);
    await unpack(manifest, tarBytes(FILES, manifest));
    const listing = await listFolder(target, ['lib']);
    expect(listing.files.map(({ path, mode }) => [path, mode])).toEqual([['main.mjs', 0o644]]);
    const all = await listFolder(target, []);
    const pieces: Buffer[] = [];
    for await (const piece of tarOf(all, target)) pieces.push(piece);
    const copy = join(folder, 'copy');
    mkdirSync(copy);
    await new Unpacker({ ...manifest, ...all }, copy).take(Readable.from(pieces));
    expect(readFileSync(join(copy, 'lib/a.js'), 'utf8')).toBe(FILES['lib/a.js']);
  });

  it('loses rights that let a program run as another user, or others write', async () => {
    const manifest = manifestOf({ tool: '#!/bin/sh' });
    const files = [{ ...manifest.files[0], mode: 0o6777 }];
    await unpack(parsed({ ...manifest, files }), tarBytes({ tool: '#!/bin/sh' }, { ...manifest, files }));
    expect(lstatSync(join(target, 'tool')).mode & 0o7777).toBe(0o755);
  });

  it('goes on behind the files that are complete when it has broken off', async () => {
    const manifest = manifestOf(FILES);
    const tar = tarBytes(FILES, manifest);
    const unpacker = new Unpacker(manifest, target);
    async function* broken() {
      yield tar.subarray(0, 1024 + 512 + 700);
      throw Object.assign(new Error('cut'), { code: 'ECONNRESET' });
    }
    await expect(unpacker.take(broken())).rejects.toThrow('cut');
    expect(unpacker.next).toBe(1);
    await unpacker.take(Readable.from([tar.subarray(1024)]));
    expect(readFileSync(join(target, 'lib/a.js'), 'utf8')).toBe(FILES['lib/a.js']);
  });
});

describe('a tar that is not that of its manifest', () => {
  const FILE = { 'main.mjs': 'x' };

  /** Entries as node-tar had trouble with in 2026, each in the place of the one file. */
  const link = (type: 'symlink' | 'link', name: string, linkname: string): ModernEntry[] => [
    { header: { name, size: 0, type, linkname } },
  ];
  const CASES: ReadonlyArray<readonly [string, ModernEntry[]]> = [
    ['a hard link to an absolute path (CVE-2026-23745)', link('link', 'files/main.mjs', '/etc/passwd')],
    ['a symbolic link to an absolute path (CVE-2026-23745)', link('symlink', 'files/main.mjs', '/etc')],
    ['a hard link that leads out by .. (CVE-2026-24842)', link('link', 'files/main.mjs', '../../../etc/passwd')],
    [
      'a hard link through a symbolic link (CVE-2026-26960)',
      [...link('symlink', 'files/a', '..'), ...link('link', 'files/main.mjs', 'a/secret')],
    ],
    ['a hard link relative to a drive (CVE-2026-29786)', link('link', 'files/main.mjs', 'C:../target')],
    ['a symbolic link relative to a drive (CVE-2026-31802)', link('symlink', 'files/main.mjs', 'C:../../target')],
    ['an absolute path', [{ header: { name: '/tmp/starlane-evil', size: 1, type: 'file' }, body: 'x' }]],
    ['a path with ..', [{ header: { name: 'files/../../evil', size: 1, type: 'file' }, body: 'x' }]],
    ['a device', [{ header: { name: 'files/main.mjs', size: 0, type: 'character-device' as never } }]],
    ['a pipe', [{ header: { name: 'files/main.mjs', size: 0, type: 'fifo' as never } }]],
    [
      'another size by an extended header',
      [{ header: { name: 'files/main.mjs', size: 1, type: 'file', pax: { size: '1000' } }, body: 'x' }],
    ],
    [
      'another path by an extended header',
      [{ header: { name: 'files/main.mjs', size: 1, type: 'file', pax: { path: '../evil' } }, body: 'x' }],
    ],
    ['a global header first', [{ header: { name: 'g', size: 0, type: 'pax-global-header', pax: { path: 'evil' } } }]],
  ];

  it.each(CASES)('is refused: %s', async (_what, entries) => {
    const tar = await packTar(entries);
    await expect(unpack(manifestOf(FILE), tar)).rejects.toMatchObject(BUNDLE);
    expect({ written: readdirSync(target), outside: outside() }).toEqual({ written: [], outside: [] });
  });

  it('is refused: every type but the one of a regular file, and each other field', async () => {
    const manifest = manifestOf(FILE);
    const tar = tarBytes(FILE, manifest);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: tar.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, by) => {
          rmSync(target, { recursive: true });
          mkdirSync(target);
          const changed = Buffer.from(tar);
          changed[at] ^= by;
          await expect(unpack(manifest, changed)).rejects.toMatchObject(BUNDLE);
          expect(outside()).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is refused: other content than was signed, in the first or the last byte', async () => {
    const manifest = manifestOf(FILES);
    const tar = tarBytes(FILES, manifest);
    // The content of the second file.
    for (const at of [3 * 512, 3 * 512 + 1_499]) {
      rmSync(target, { recursive: true });
      mkdirSync(target);
      const changed = Buffer.from(tar);
      changed[at] ^= 1;
      await expect(unpack(manifest, changed)).rejects.toMatchObject({
        message: expect.stringContaining('lib/a.js is not'),
      });
    }
  });

  it('is refused: sparse files, and sizes in another base', async () => {
    const manifest = manifestOf(FILE);
    for (const change of [
      (header: Buffer) => header.write('S', 156),
      (header: Buffer) => header.writeUInt8(0x80, 124),
      (header: Buffer) => header.write('7', 156),
      (header: Buffer) => header.write('\0', 156),
    ]) {
      const header = headerOf(fileEntry(manifest.files[0]));
      change(header);
      header.write('        ', 148);
      const sum = header.reduce((total, byte) => total + byte, 0);
      header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
      await expect(unpack(manifest, Buffer.concat([header, Buffer.alloc(512)]))).rejects.toMatchObject(BUNDLE);
    }
  });

  it('is refused: a file more, a file less, one twice, and bytes behind its end', async () => {
    const manifest = manifestOf(FILE);
    const tar = tarBytes(FILE, manifest);
    const entry = tar.subarray(0, 1024);
    const end = tar.subarray(1024);
    for (const bytes of [
      Buffer.concat([entry, entry, end]),
      end,
      entry,
      tar.subarray(0, 600),
      Buffer.concat([tar, Buffer.from('x')]),
      Buffer.concat([tar, Buffer.alloc(100_000)]),
    ]) {
      rmSync(target, { recursive: true });
      mkdirSync(target);
      await expect(unpack(manifest, bytes)).rejects.toMatchObject(BUNDLE);
    }
  });

  it('ends a sender that has no end', async () => {
    const manifest = manifestOf(FILE);
    let sent = 0;
    async function* endless() {
      yield tarBytes(FILE, manifest);
      for (;;) {
        sent += 65_536;
        yield Buffer.alloc(65_536);
      }
    }
    await expect(new Unpacker(manifest, target).take(endless())).rejects.toMatchObject(BUNDLE);
    expect(sent).toBeLessThan(300_000);
  });
});

describe('a manifest', () => {
  const file = (path: string) => ({ path, size: 0, mode: 0o644, sha256: '0'.repeat(64) });

  it.each([
    ['an absolute path', ['/etc/passwd']],
    ['a path with ..', ['a/../../b']],
    ['a path with .', ['./a']],
    ['an empty name', ['a//b']],
    ['a folder as a file', ['a/']],
    ['a drive', ['C:evil']],
    ['a stream of a file', ['a:b']],
    ['a backslash', ['a\\..\\b']],
    ['a zero byte', ['a\0b']],
    ['a device of Windows', ['lib/NUL.txt']],
    ['a dot at the end', ['lib./a']],
    ['a path twice', ['a', 'a']],
    ['two paths that differ by case', ['lib/A', 'lib/a']],
    ['two folders that differ by case', ['Lib/a', 'lib/b']],
    ['ß beside ss (CVE-2026-23950)', ['straße', 'strasse']],
    ['a ligature beside its letters (CVE-2026-23950)', ['ﬁle', 'file']],
    ['a path that is not in NFC', ['e\u0301']],
    ['a file that is a folder as well', ['a', 'a/b']],
    ['a folder in the spelling of a file', ['a/b', 'A']],
    ['too deep a path', [Array(30).fill('a').join('/')]],
    ['too long a name', ['a'.repeat(120)]],
    ['too long a path', [Array(20).fill('a'.repeat(20)).join('/')]],
    ['a path that turns the direction of text', ['a\u202eb']],
  ])('is refused: %s', (_what, paths) => {
    expect(() => parsed(manifestOf({}, { files: paths.map(file) }))).toThrow(expect.objectContaining(BUNDLE));
  });

  it.each([
    ['no app', { app: '../web' }],
    ['a fraction', { number: 1.5 }],
    ['no number', { number: 0 }],
    ['an empty command', { command: [] }],
    ['a command with a zero byte', { command: 'a\0b' }],
    ['a variable of this command', { env: { STARLANE_SECRET: 'x' } }],
    ['a negative size', { files: [{ ...file('a'), size: -1 }] }],
    ['too large a size', { files: [{ ...file('a'), size: 2 ** 40 }] }],
    ['a hash in capital letters', { files: [{ ...file('a'), sha256: 'A'.repeat(64) }] }],
    ['a mode that is none', { files: [{ ...file('a'), mode: 0o10000 }] }],
    ['a field that is not known', { links: [] }],
    ['another format', { format: 2 }],
    [
      'two services of one port',
      {
        services: [
          { name: 'a', port: 'PORT', check: 'tcp' },
          { name: 'b', port: 'PORT', check: 'tcp' },
        ],
      },
    ],
    ['a check that is none', { services: [{ name: 'a', port: 'PORT', check: 'rm' }] }],
  ])('is refused: %s', (_what, change) => {
    expect(() => parsed({ ...manifestOf({ a: '' }), ...change })).toThrow(expect.objectContaining(BUNDLE));
  });

  it('is refused, whatever its bytes are, or read as it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(() => parseManifest(bytes)).toThrow(expect.objectContaining(BUNDLE));
        },
      ),
    );
  });

  it('never has a path that leads out of its folder', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom('.', '..', '', '/', '\\', 'a', 'ß', 'C:'), fc.string())),
        (names) => {
          const path = names.join('/');
          if (pathFault(path) !== undefined) return;
          expect(join('/srv/files', path).startsWith('/srv/files/')).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('the head of a bundle', () => {
  const read = (bytes: Buffer) => {
    const found = new HeadReader().push(bytes);
    if (found === undefined) throw new Error('not complete');
    return found.head;
  };
  const verify = (bytes: Buffer, app = 'web', nowMs = Date.now()) => verifyHead(read(bytes), { app, signers, nowMs });
  const code = (action: () => unknown): unknown => {
    try {
      action();
      return 'accepted';
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };

  it('is accepted from a signer of the host', () => {
    expect(code(() => verify(bundleOf(FILES, key).head))).toBe('accepted');
  });

  it('is refused from a key that the host does not list', () => {
    expect(code(() => verify(bundleOf(FILES, newKey()).head))).toBe('ERR_STARLANE_BUNDLE_SIGNATURE');
  });

  it('is refused when it names a signer of the host and another key has signed it', () => {
    const { head } = bundleOf(FILES, newKey());
    const other = read(head).signer;
    const forged = Buffer.from(head.toString('latin1').replace(other, key.signer), 'latin1');
    expect(code(() => verify(forged))).toBe('ERR_STARLANE_BUNDLE_SIGNATURE');
  });

  it('is refused for another app, and when it has expired', () => {
    const { head } = bundleOf(FILES, key);
    expect(code(() => verify(head, 'api'))).toBe('ERR_STARLANE_BUNDLE');
    expect(code(() => verify(head, 'web', Date.now() + 61_000))).toBe('ERR_STARLANE_BUNDLE');
  });

  it('is refused with any byte changed', () => {
    const { head } = bundleOf({ a: 'x' }, key);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: head.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(head);
        changed[at] ^= by;
        expect(['ERR_STARLANE_BUNDLE', 'ERR_STARLANE_BUNDLE_SIGNATURE']).toContain(code(() => verify(changed)));
      }),
      { numRuns: 500 },
    );
  });

  it('is not read beyond its limit', () => {
    const reader = new HeadReader();
    const header = headerOf({ path: 'manifest.json', size: 100 * 1024 * 1024, mode: 0o644 });
    expect(() => reader.push(header)).toThrow(expect.objectContaining(BUNDLE));
    expect(existsSync(join(target, 'manifest.json'))).toBe(false);
  });
});
