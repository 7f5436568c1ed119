"use strict";
let D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const state = { token: D.tokens.length - 1, key: 0, layer: 0, head: 0, candidate: 0, stage: D.stages.length - 1, update: 0, off: new Set(D.switches.asked ? D.switches.asked.split("+") : []) };

/* Numbers: arrays arrive in base64, as float32; weights, each row in steps of a unit of its own; of large models float16. */

const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

function unpack(packed) {
  if (packed.numbers) return packed;
  if (packed.half) return Object.assign(packed, { numbers: Float32Array.from(new Uint16Array(bytes(packed.half)), half) });
  if (packed.data) return Object.assign(packed, { numbers: new Float32Array(bytes(packed.data)) });
  const steps = new Int16Array(bytes(packed.steps)), unit = new Float32Array(bytes(packed.unit)), width = packed.shape.at(-1);
  return Object.assign(packed, { numbers: Float32Array.from(steps, (x, i) => x * unit[Math.floor(i / width)]) });
}

/* The part of an array that its first indices pick. */
function at(packed, ...indices) {
  const { numbers, shape } = unpack(packed);
  let size = numbers.length, start = 0;
  indices.forEach((index, axis) => { size /= shape[axis]; start += index * size; });
  return numbers.subarray(start, start + size);
}

/* The row of a token in the embedding matrix; the page of a large model has only those on its map. */
const rowOf = new Map();
function embeddingRow(token) {
  if (rowOf.of !== D.rows) { rowOf.clear(); D.rows.tokens.forEach((id, row) => rowOf.set(id, row)); rowOf.of = D.rows; }
  return rowOf.has(token) ? at(D.rows, rowOf.get(token)) : null;
}

const total = numbers => numbers.reduce((a, b) => a + b, 0);
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
/* As many digits as are right. */
const digits = size => D.coarse ? (size >= 20 ? 0 : size >= 2 ? 1 : 2) : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 3 : 4;
const number = x => x.toFixed(digits(Math.abs(x))).replace(/^-(0\.?0*)$/, "$1");
const percent = x => x < 0.0005 ? "<0.1%" : x < 1 && x >= 0.9995 ? ">99.9%" : (100 * x).toFixed(1) + "%";
const layer = () => D.layers[state.layer];
const groupOf = head => Math.floor(head * D.model.n_kv_heads / D.model.n_heads);
const group = () => groupOf(state.head);

/* Colours: blue is positive, orange negative; the more, the larger. */

const LEGIBLE = 0.5;  // the most colour on which the page's ink is legible (4.5:1, light and dark)
const colour = (x, largest) => `rgba(var(${x < 0 ? "--minus" : "--plus"}),${Math.min(1, Math.abs(x) / largest || 0).toFixed(3)})`;
let palette;
function readPalette() {
  const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue(name).split(",").map(Number);
  palette = { plus: of("--plus"), minus: of("--minus"), ink: getComputedStyle(document.body).color };
}
