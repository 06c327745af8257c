// A certificate that the membership adopts while the answer of the issuer is still on its way.

import { expect, it } from '@jest/globals';
import { type Member, readCertificate } from '../../../lib/identity/member-certificate.js';
import { Renewal } from '../../../lib/node/enrolment/renewal.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { newAuthority, newMember } from '../../support/members.js';

const HOUR_MS = 3_600_000;
const START_MS = 1_800_000_000_000;

it('asks once for each certificate, also when it learns of the new one before the request is over', async () => {
  const clock = new FakeClock();
  const authority = newAuthority();
  const { identity } = newMember(authority);
  const nowMs = () => START_MS + clock.now();
  const issue = (): Member =>
    readCertificate(newMember(authority, { lifetimeMs: HOUR_MS }, nowMs(), identity).certificate, [
      authority.publicKey,
    ]);
  let own = issue();
  let asked = 0;
  const renewal: Renewal = new Renewal({
    timers: new Timers(clock),
    now: nowMs,
    random: () => 0.5,
    own: () => own,
    authorityEndsMs: () => undefined,
    renew: async () => {
      asked++;
      own = issue();
      // As the book reports it.
      renewal.update();
    },
    onWarning: (warning) => expect(warning).toBeUndefined(),
  });
  renewal.update();
  for (let second = 0; second < 3_600; second++) {
    clock.advance(1_000);
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  }
  expect(asked).toBe(1);
  renewal.close();
});
