// SHA-256 (FIPS 180-4) without a promise: a tab that closes in the act would not wait for crypto.subtle.

/** @type {number[]} */
const K = [];
/** @type {number[]} */
const H = [];
const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
for (let n = 2; K.length < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) prime = prime && n % d > 0;
  if (prime) {
    if (H.length < 8) H.push(fraction(Math.sqrt(n)));
    K.push(fraction(Math.cbrt(n)));
  }
}

/** @param {string} text @returns {Uint8Array} the digest of its UTF-8 bytes */
export function sha256(text) {
  const bytes = new TextEncoder().encode(text);
  const size = bytes.length;
  const view = new DataView(new ArrayBuffer(((size + 72) >> 6) << 6));
  bytes.forEach((byte, i) => view.setUint8(i, byte));
  view.setUint8(size, 128);
  view.setUint32(view.byteLength - 4, size * 8);
  const state = [...H];
  const w = [];
  for (let start = 0; start < view.byteLength; start += 64) {
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      if (i < 16) w[i] = view.getInt32(start + i * 4);
      else {
        const x = w[i - 15];
        const y = w[i - 2];
        w[i] = (w[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + w[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))) | 0;
      }
      const t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
      const u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t) | 0, c, b, a, (t + u) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => (state[i] = (state[i] + x) | 0));
  }
  state.forEach((x, i) => view.setInt32(i * 4, x));
  return new Uint8Array(view.buffer, 0, 32);
}

/** @param {number} x @param {number} by */
const turn = (x, by) => (x >>> by) | (x << (32 - by));
