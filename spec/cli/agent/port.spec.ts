// The agent without its parts: who gets in, by which rule, and what others learn.

import { afterEach, describe, expect, it } from '@jest/globals';
import { jsonOf } from '../../../lib/cli/agent/answer.js';
import type { AgentPart } from '../../../lib/cli/agent/part.js';
import { AgentNet } from '../../support/agent-net.js';

const ECHO: AgentPart = {
  routes: [
    {
      method: 'POST',
      path: '/v1/echo/:app',
      right: 'deploy',
      of: 'app',
      handle: async ({ request, params }) => ({ app: params['app'], ...(await jsonOf(request)) }),
    },
  ],
  start: async () => {},
  stop: async () => {},
  status: () => ({ echo: true }),
};

let net: AgentNet | undefined;

afterEach(async () => {
  await net?.close();
  net = undefined;
});

async function echoAt(allow: string[], tags: Record<number, string[]> = {}): Promise<AgentNet> {
  net = await AgentNet.of(3, tags);
  await net.agent(1, { allow }, [ECHO]);
  return net;
}

const echo = (from: number, app = 'web', body: unknown = { text: 'hello' }) =>
  (net as AgentNet).client(from, 1).ask({ method: 'POST', path: `/v1/echo/${app}`, body, timeoutMs: 10_000 });

describe('an agent', () => {
  it('does what a rule allows, for the member that it names', async () => {
    await echoAt(['members=n0 rights=deploy']);
    expect(await echo(0)).toEqual({ app: 'web', text: 'hello' });
  });

  it('says who the caller is and what it may do', async () => {
    await echoAt(['tags=ops rights=logs,status'], { 2: ['ops'] });
    const answer = await (net as AgentNet).client(2, 1).ask({ method: 'GET', path: '/v1/agent', timeoutMs: 10_000 });
    expect(answer).toMatchObject({ caller: { name: 'n2', tags: ['ops'] }, rights: ['status', 'logs'] });
  });

  it.each([
    ['that no rule names', ['members=n0 rights=deploy'], 'no rule of this host names you'],
    [
      'with another right',
      ['members=n2 rights=status,jobs,logs'],
      "no rule of this host gives you the right 'deploy' for web",
    ],
    [
      'with the right for other apps',
      ['members=n2 rights=deploy apps=api,web-*'],
      "no rule of this host gives you the right 'deploy' for web",
    ],
  ])('refuses a member %s', async (_what, allow, message) => {
    await echoAt(allow);
    await expect(echo(2)).rejects.toMatchObject({ code: 'EACCES', message });
  });

  it('refuses bodies that are too long or no object, and knows no other paths', async () => {
    await echoAt(['members=n0 rights=deploy']);
    await expect(echo(0, 'web', { text: 'x'.repeat(100_000) })).rejects.toMatchObject({
      code: 'ERR_STARLANE_ARGUMENT',
    });
    await expect(echo(0, 'web', [1])).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    const other = (net as AgentNet).client(0, 1).ask({ method: 'GET', path: '/v1/echo/web', timeoutMs: 10_000 });
    await expect(other).rejects.toMatchObject({ message: 'invalid argument: GET is not for /v1/echo/web' });
  });

  it('serves no second process in one folder', async () => {
    await echoAt(['members=n0 rights=deploy']);
    const folder = `${(net as AgentNet).folder}/agent1`;
    await expect((net as AgentNet).agent(2, { allow: ['members=n0 rights=deploy'], folder }, [])).rejects.toThrow(
      /another agent uses/,
    );
  });
});
