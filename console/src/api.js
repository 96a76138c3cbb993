// Calls of the node's own API. The proof is the half of a session that only this origin can read; the other half is a
// cookie that only the browser can.
const KEY = 'sunbeam-proof';

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let onOut = () => {};
/** Calls `call` when the node says that nobody is logged in. */
export function whenOut(call) { onOut = call; }

async function send(method, path, body) {
  const headers = { 'X-Sunbeam-CSRF': localStorage.getItem(KEY) ?? '' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, 'The node does not answer.');
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  if (answer.status === 401 && path !== '/api/v1/session') onOut(told.error);
  throw new Refused(answer.status, told.error ?? `The node answered ${answer.status}.`);
}

export const get = (path) => send('GET', path);
export const post = (path, body) => send('POST', path, body ?? {});
export const remove = (path) => send('DELETE', path);

/** Opens a session with the secret of a one-time link. */
export async function logIn(secret) {
  const { proof } = await post('/api/v1/session', { secret });
  localStorage.setItem(KEY, proof);
}

export async function logOut() {
  await remove('/api/v1/session');
  localStorage.removeItem(KEY);
}

/** Who is logged in; null where nobody is. */
export const who = async () => (localStorage.getItem(KEY) ? (await get('/api/v1/session')).name : null);
