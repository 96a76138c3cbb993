import { get } from './api.js';

/** What a page of the API says, asked again every so many seconds while somebody looks. */
export function watch(path, seconds) {
  const told = $state({ value: null, error: null, status: 0, again: () => {} });
  let newest = 0;
  const load = async () => {
    const turn = ++newest;
    try {
      const value = await get(typeof path === 'function' ? path() : path);
      if (turn === newest) Object.assign(told, { value, error: null, status: 200 });
    } catch (error) {
      if (turn === newest) Object.assign(told, { error: error.message, status: error.status });
    }
  };
  told.again = load;
  $effect(() => {
    load();
    if (!seconds) return undefined;
    const timer = setInterval(() => { if (!document.hidden) load(); }, seconds * 1000);
    return () => clearInterval(timer);
  });
  return told;
}

/** A change that somebody asks for: what the node said of it. */
export function change() {
  const said = $state({ message: '', undo: null, is_bad: false, is_busy: false, answer: null, make: null });
  said.make = async (call) => {
    said.is_busy = true;
    try {
      const answer = await call();
      Object.assign(said, { message: answer.message ?? 'Done.', undo: answer.undo ?? null, is_bad: false, answer });
      return answer;
    } catch (error) {
      Object.assign(said, { message: error.message, undo: null, is_bad: true, answer: null, status: error.status });
      return null;
    } finally {
      said.is_busy = false;
    }
  };
  return said;
}
