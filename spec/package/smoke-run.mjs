import assert from 'node:assert';

/** Runs in plain Node, without TypeScript and jest. Leaves nothing open, so that the process ends by itself. */
export async function smoke(createNode, Session) {
  assert.equal(typeof Session, 'function');
  const [server, dialer] = [createNode(), createNode()];
  const { address } = await server.listenAndServe('tcp://127.0.0.1:0');
  server.bind('echo', (socket) => socket.pipe(socket));
  await dialer.join(address);

  const socket = dialer.dial('echo');
  socket.end('over the link and back');
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  assert.equal(answer, 'over the link and back');

  await dialer.close();
  await server.close();
  console.log(`Node ${process.version}: echoed by service name`);
}
