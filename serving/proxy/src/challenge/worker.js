// Looks for a number that makes SHA-256("WORK.NUMBER") begin with enough zero bits. Written out, because browsers have
// crypto.subtle on secure pages only, and there one call for each number takes longer than the digest itself.
'use strict';

const [K, H] = (() => {
  const k = [], h = [];
  const isPrime = (n) => { for (let d = 2; d * d <= n; d++) if (n % d === 0) return false; return true; };
  for (let n = 2; k.length < 64; n++) {
    if (!isPrime(n)) continue;
    if (h.length < 8) h.push((Math.sqrt(n) * 2 ** 32) | 0);
    k.push((Math.cbrt(n) * 2 ** 32) | 0);
  }
  return [Int32Array.from(k), Int32Array.from(h)];
})();

const w = new Int32Array(64);

// The first 32 bits of the digest of a text of at most 55 ASCII characters.
function first(text) {
  w.fill(0, 0, 16);
  for (let i = 0; i < text.length; i++) w[i >> 2] |= text.charCodeAt(i) << (24 - (i & 3) * 8);
  w[text.length >> 2] |= 0x80 << (24 - (text.length & 3) * 8);
  w[15] = text.length * 8;
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15], y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = H;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + t1) | 0;
    d = c; c = b; b = a; a = (t1 + t2) | 0;
  }
  return (a + H[0]) | 0;
}

onmessage = ({ data: { work, difficulty } }) => {
  let number = 0;
  while (Math.clz32(first(`${work}.${number}`)) < difficulty) number++;
  postMessage(number);
};
