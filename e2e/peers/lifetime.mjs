// What every Node.js peer needs: the packages of .dev/node, one line when it is ready, no life after the test's.
import { createRequire } from 'node:module';

/** Loads a package that `./dev setup` put in .dev/node. */
export const load = createRequire(new URL('../../.dev/node/', import.meta.url));

/** Prints where `server` listens and ends the process on SIGTERM or when stdin, which the test holds, closes. */
export function announce(server) {
  const end = () => process.exit(0);
  process.on('SIGTERM', end);
  process.stdin.on('end', end).on('error', end).resume();
  const { address, port } = server.address();
  console.log(`listening ${address}:${port}`);
}
