// The Chromium of this machine, and how the tests start it.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where it is. */
export function findBrowser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const places = (process.env.PATH ?? '').split(delimiter);
  for (const path of names.flatMap((name) => places.map((place) => join(place, name)))) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch { /* the next one */ }
  }
  throw new Error(`none of ${names.join(', ')} is in PATH`);
}

/** A browser on its own: no update checks, no other hosts, and no QUIC, which would race the TCP listener under test. */
export function flags() {
  const args = [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  ];
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  return args;
}
