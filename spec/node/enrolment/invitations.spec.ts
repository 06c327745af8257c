// Which key a code goes to, whatever crashes.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { GRACE_MS, type Invitation, Invitations, type Redemption } from '../../../lib/node/enrolment/invitations.js';
import { CrashError, LossyFiles } from '../../support/lossy-files.js';

const NOW = 1_800_000_000_000;
const CODE = Buffer.alloc(16, 7);
const KEYS = Array.from({ length: 6 }, (_, index) => Buffer.alloc(32, index));

function invitation(changes: Partial<Invitation> = {}): Invitation {
  return {
    key: Buffer.alloc(32, 9),
    name: 'web',
    tags: ['blue'],
    rights: { relay: true, offer: ['web*'], issue: false },
    lifetimeMs: 1_000_000,
    uses: 1,
    expiresAtMs: NOW + 60_000,
    ...changes,
  };
}

const yes = () => true;
const kindOf = ({ kind, ...rest }: Redemption): string => ('isRepeat' in rest && rest.isRepeat ? 'repeated' : kind);

describe('Invitations on a disk', () => {
  let folder: string;
  let invitations: Invitations;

  beforeEach(() => {
    folder = join(mkdtempSync(join(tmpdir(), 'invitations-')), 'invitations');
    invitations = new Invitations(folder);
  });
  afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

  const redeem = async (key: Buffer, nowMs = NOW) => kindOf(await invitations.redeem(CODE, key, nowMs, yes));

  it('go to the key that comes first, and to it again', async () => {
    await invitations.add(CODE, invitation(), NOW);
    expect(await redeem(KEYS[0])).toBe('granted');
    expect(await redeem(KEYS[1])).toBe('used');
    expect(await redeem(KEYS[0])).toBe('repeated');
  });

  it('go to as many keys as they have uses', async () => {
    await invitations.add(CODE, invitation({ uses: 3 }), NOW);
    const kinds = await Promise.all([0, 1, 2, 3, 4, 0, 1].map((index) => redeem(KEYS[index])));
    expect(kinds.filter((kind) => kind === 'granted')).toHaveLength(3);
    expect(kinds.filter((kind) => kind === 'used').length).toBeGreaterThanOrEqual(2);
  });

  it('bring what was granted', async () => {
    await invitations.add(CODE, invitation(), NOW);
    const { tags, rights, lifetimeMs, name } = invitation();
    expect(await invitations.redeem(CODE, KEYS[0], NOW, ({ key }) => key.equals(Buffer.alloc(32, 9)))).toEqual({
      kind: 'granted',
      grant: { name, tags, rights, lifetimeMs },
      isRepeat: false,
    });
  });

  it('are not known without the code, and nothing is taken then', async () => {
    expect(await redeem(KEYS[0])).toBe('unknown');
    await invitations.add(CODE, invitation(), NOW);
    expect(kindOf(await invitations.redeem(CODE, KEYS[0], NOW, () => false))).toBe('unknown');
    expect(await redeem(KEYS[1])).toBe('granted');
  });

  it('expire, and a key that has one may fetch its certificate for ten minutes more', async () => {
    await invitations.add(CODE, invitation({ uses: 2 }), NOW);
    expect(await redeem(KEYS[0], NOW + 60_000)).toBe('granted');
    expect(await redeem(KEYS[1], NOW + 60_001)).toBe('expired');
    expect(await redeem(KEYS[0], NOW + 60_000 + GRACE_MS)).toBe('repeated');
    expect(await redeem(KEYS[0], NOW + 60_001 + GRACE_MS)).toBe('expired');
  });

  it('give a key one place, also where a power cut has lost an earlier one', async () => {
    await invitations.add(CODE, invitation({ uses: 2 }), NOW);
    await redeem(KEYS[0]);
    await redeem(KEYS[1]);
    const [first] = readdirSync(folder).filter((name) => name.endsWith('.1'));
    rmSync(join(folder, first));
    expect(await redeem(KEYS[1])).toBe('repeated');
    expect(await redeem(KEYS[2])).toBe('granted');
  });

  it('are private files without the code', async () => {
    await invitations.add(CODE, invitation(), NOW);
    await redeem(KEYS[0]);
    const names = readdirSync(folder);
    expect(names.map((name) => name.replace(/^[0-9a-f]{32}/, 'hash')).sort()).toEqual(['hash.1', 'hash.json']);
    for (const name of names) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
      const text = readFileSync(join(folder, name), 'utf8');
      for (const encoding of ['hex', 'base64', 'base64url'] as const)
        expect(text).not.toContain(CODE.toString(encoding));
    }
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('are removed when they are over, with what crashes have left', async () => {
    await invitations.add(CODE, invitation(), NOW);
    await invitations.add(Buffer.alloc(16, 8), invitation({ expiresAtMs: NOW + 10 * GRACE_MS }), NOW);
    await redeem(KEYS[0]);
    writeFileSync(join(folder, `temp-${NOW}-0`), '');
    writeFileSync(join(folder, `temp-${NOW + 10 * GRACE_MS}-0`), '');
    writeFileSync(join(folder, `${'0'.repeat(32)}.1`), '');
    await invitations.sweep(NOW + 60_000 + GRACE_MS);
    expect(readdirSync(folder)).toHaveLength(5);
    await invitations.sweep(NOW + 7 * GRACE_MS);
    expect(
      readdirSync(folder)
        .map((name) => name.replace(/^[0-9a-f]{32}/, 'hash'))
        .sort(),
    ).toEqual(['hash.json', `temp-${NOW + 10 * GRACE_MS}-0`]);
  });

  it('that are damaged say which file it is', async () => {
    await invitations.add(CODE, invitation(), NOW);
    writeFileSync(join(folder, readdirSync(folder)[0]), '{"version":1');
    await expect(redeem(KEYS[0])).rejects.toMatchObject({
      code: 'ERR_STARLANE_CREDENTIALS',
      message: expect.stringMatching(/\/[0-9a-f]{32}\.json is damaged$/),
    });
  });
});

/** Not fc.double: nearly all of its numbers are close to zero. */
const chance = fc.infiniteStream(fc.nat(999).map((thousandths) => thousandths / 1_000));

describe('Invitations on a disk that loses what was not synced', () => {
  interface Step {
    readonly key: number;
    /** Counted from the start of the step; none: no crash. */
    readonly crash: { readonly after: number; readonly isDone: boolean } | undefined;
    /** Whether the machine goes down as well after the step, or only the process. */
    readonly isPowerCut: boolean;
  }
  const step: fc.Arbitrary<Step> = fc.record({
    key: fc.nat(5),
    crash: fc.option(fc.record({ after: fc.nat(14), isDone: fc.boolean() }), { nil: undefined }),
    isPowerCut: fc.boolean(),
  });

  it('give no use to two keys, and take none from a key that has heard of it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { maxLength: 12 }),
        chance,
        async (uses, steps, chances) => {
          const disk = new LossyFiles(() => chances.next().value as number);
          await new Invitations('folder', disk.files).add(CODE, invitation({ uses }), NOW);
          disk.restart();
          const granted = new Set<number>();
          for (const { key, crash, isPowerCut } of steps) {
            disk.crashAt = crash && { operation: disk.operations + crash.after, isDone: crash.isDone };
            try {
              const { kind } = await new Invitations('folder', disk.files).redeem(CODE, KEYS[key], NOW, yes);
              if (kind === 'granted') granted.add(key);
              else expect([kind, granted.has(key)]).toEqual(['used', false]);
            } catch (error) {
              expect(error).toBeInstanceOf(CrashError);
            }
            if (isPowerCut) disk.restart();
            else disk.resume();
            expect(granted.size).toBeLessThanOrEqual(uses);
          }
          // Whatever was lost can still be had: by those that took it, or by somebody new.
          disk.restart();
          for (const [index, key] of KEYS.entries()) {
            const { kind } = await new Invitations('folder', disk.files).redeem(CODE, key, NOW, yes);
            if (kind === 'granted') granted.add(index);
          }
          expect(granted.size).toBe(uses);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are there as a whole or not at all, and never come back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(12), fc.boolean(), chance, async (operation, isDone, chances) => {
        const disk = new LossyFiles(() => chances.next().value as number);
        const add = async () => {
          try {
            await new Invitations('folder', disk.files).add(CODE, invitation(), NOW);
            return true;
          } catch {
            return false;
          }
        };
        disk.crashAt = { operation, isDone };
        const isAdded = await add();
        disk.restart();
        const { kind } = await new Invitations('folder', disk.files).redeem(CODE, KEYS[0], NOW, yes);
        if (isAdded) expect(kind).toBe('granted');
        else expect(['granted', 'unknown']).toContain(kind);
        // Swept away in the middle of a crash, with the clock set back afterwards.
        disk.restart();
        disk.crashAt = { operation: disk.operations + (operation % 9), isDone };
        await new Invitations('folder', disk.files).sweep(NOW + 2 * GRACE_MS).catch(() => {});
        disk.restart();
        const again = await new Invitations('folder', disk.files).redeem(CODE, KEYS[1], NOW, yes);
        expect(again.kind).not.toBe(kind === 'granted' ? 'granted' : undefined);
      }),
      { numRuns: 500 },
    );
  });
});
