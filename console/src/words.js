// How numbers and times are told.
const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const few = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const number = (value) => (value === null || value === undefined ? '–' : numbers.format(value));
export const short = (value) => (value === null || value === undefined ? '–' : few.format(value));
export const ms = (value) => (value === null || value === undefined ? '–' : `${few.format(value)} ms`);

/** `2026-11-29 08:15:00`, in the reader's own time. */
export function moment(text) {
  if (!text) return '–';
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  const two = (part) => String(part).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function duration(seconds) {
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  if (first < 0) return '0 s';
  const parts = [];
  let rest = Math.floor(seconds);
  for (const [unit, length] of units.slice(first, first + 2)) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole) parts.push(`${whole} ${unit}`);
  }
  return parts.join(' ');
}

/** A share. Small ones keep their digits. */
export const percent = (share) => (share === null || share === undefined ? '–' : `${few.format(share * 100)} %`);

/** How long it is until then. */
export function left(text) {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  return seconds > 0 ? `${duration(seconds)} left` : 'over';
}

export const tone = (decision) => ({ block: 'bad', observe: 'warn', challenge: 'warn' }[decision] ?? 'good');
export const verdict = (decision) => ({ block: '✗ blocked', observe: '? would be blocked', challenge: '! challenged', pass: '✓ passed' }[decision] ?? decision);
export const words = (name) => String(name).replaceAll('_', ' ');
