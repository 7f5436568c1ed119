"use strict";
let D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const state = { token: D.tokens.length - 1, key: 0, layer: 0, head: 0, candidate: 0, stage: D.stages.length - 1, update: 0, off: new Set(D.switches.asked ? D.switches.asked.split("+") : []) };

/* Numbers: arrays arrive as float16 in base64. */

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * 2 ** -24 * fraction;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * 2 ** (exponent - 25) * (1024 + fraction);
}

function unpack(packed) {
  if (!packed) return null;
  if (!packed.numbers) {
    const bytes = Uint8Array.from(atob(packed.data), letter => letter.charCodeAt(0));
    packed.numbers = Float32Array.from({ length: bytes.length / 2 }, (_, i) => half(bytes[2 * i] | bytes[2 * i + 1] << 8));
  }
  return packed;
}

/* The part of an array that its first indices pick. */
function at(packed, ...indices) {
  const { numbers, shape } = unpack(packed);
  let size = numbers.length, start = 0;
  indices.forEach((index, axis) => { size /= shape[axis]; start += index * size; });
  return numbers.subarray(start, start + size);
}

const number = x => Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 10 ? x.toFixed(1) : x.toFixed(3);
const percent = x => x > 0 && x < 0.0005 ? "<0.1%" : x < 1 && x >= 0.9995 ? ">99.9%" : (100 * x).toFixed(1) + "%";
const layer = () => D.layers[state.layer];
const group = () => Math.floor(state.head * D.model.n_kv_heads / D.model.n_heads);
const colour = (x, largest) => `rgba(var(${x < 0 ? "--minus" : "--plus"}),${Math.min(1, Math.abs(x) / largest || 0).toFixed(3)})`;

/* The most colour on which the page's ink is legible (4.5:1, light and dark). */
const LEGIBLE = 0.5;
