// The command of the packed package: publish and forward as two users, with the Node that runs this. Run in a project that has it installed.

import assert from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = join(dirname(fileURLToPath(import.meta.resolve('starlane/package.json'))), 'dist/cli/main.js');
const homes = mkdtempSync(join(tmpdir(), 'starlane-smoke-'));
const running = [];

/** Runs a command as a user of its own, and resolves with the first match in what it prints. */
function starlane(user, pattern, ...args) {
  const env = { PATH: process.env.PATH, HOME: join(homes, user), STARLANE_HOME: join(homes, user, 'home') };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  let text = '';
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      text += chunk;
      const match = pattern.exec(text);
      if (match !== null) resolve(match);
    });
    child.once('exit', () => reject(new Error(`starlane ${args.join(' ')} ended: ${text}`)));
  });
}

const web = http.createServer((request, response) => response.end(`hello ${request.url}`));
await once(web.listen(0, '127.0.0.1'), 'listening');
try {
  const port = String(web.address().port);
  const [token] = await starlane(
    'one',
    /starlane1\.[\w-]+/,
    'publish',
    'web',
    '--port',
    port,
    '--listen',
    'tls://127.0.0.1:0',
  );
  const [, local] = await starlane('two', /127\.0\.0\.1:(\d+)/, 'forward', '0:web', '--join', token);
  const response = await fetch(`http://127.0.0.1:${local}/there`, { headers: { connection: 'close' } });
  assert.strictEqual(await response.text(), 'hello /there');
  for (const child of running.reverse()) {
    child.kill('SIGTERM');
    assert.deepStrictEqual(await once(child, 'exit'), [0, null]);
  }
} finally {
  for (const child of running) child.kill('SIGKILL');
  web.close();
  web.closeAllConnections();
  rmSync(homes, { recursive: true, force: true });
}
