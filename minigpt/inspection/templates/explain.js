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

/* Elements: text is always set as text, never as markup. */

function make(name, attributes = {}, ...children) {
  const svg = ["path", "text", "circle", "title"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* A vector as coloured cells, with its numbers for those who want to read them. */
function strip(name, vector, label = i => i) {
  const extreme = vector.reduce((most, x) => Math.abs(x) > Math.abs(most) ? x : most, 0), largest = Math.abs(extreme);
  const cells = make("div", { class: "cells", role: "img", "aria-label": `${name}: ${vector.length} numbers` });
  vector.forEach((x, i) => cells.append(make("i", { style: `background:${colour(x, largest)}`, "data-reading": `${label(i)}: ${number(x)}` })));
  const numbers = make("details", {}, make("summary", {}, "numbers"), make("p", {}, Array.from(vector, number).join("  ")));
  return make("div", { class: "strip", "data-name": name }, make("span", {}, name, make("span", {}, `${vector.length} numbers, largest ${number(extreme)}`)), cells, numbers);
}

function chips(element, guesses) {
  element.replaceChildren(...guesses.map(([token, share]) =>
    make("span", { class: "chip" }, D.vocabulary[token] + " ", make("small", {}, percent(share)))));
}

function strips(id, ...all) { $(id).replaceChildren(...all); }

/* The chapters. */

function drawControls() {
  $("tokens").replaceChildren(...D.tokens.map((token, i) => {
    const button = make("button", { role: "radio", "aria-checked": i === state.token, tabindex: i === state.token ? 0 : -1 }, token.piece);
    button.onclick = () => look(i);
    return button;
  }));
  const options = n => Array.from({ length: n }, (_, i) => make("option", { value: i }, i + 1));
  $("layer").value = state.layer;
  $("head").value = state.head;
  if (!$("layer").length) { $("layer").append(...options(D.model.n_layers)); $("head").append(...options(D.model.n_heads)); }
}

function drawTokens() {
  $("token-table").tBodies[0].replaceChildren(...D.tokens.map((token, i) => make("tr", { class: i === state.token ? "picked" : "" },
    make("th", { scope: "row" }, make("span", { class: "chip" }, token.piece)), make("td", {}, token.bytes.join(" ")), make("td", {}, token.id),
    make("td", {}, token.merges.map(pair => pair.join("+")).join(", ")))));
}

function drawVectors() {
  const token = D.tokens[state.token], n = D.model.vocab_size;
  const oneHot = make("p", {}, `${token.piece} is token ${token.id}: a row v of ${(n - 1).toLocaleString("en")} zeros with a single 1 in place ${token.id}, `
    + `[0 … 0 1 0 … 0], times the matrix E (${n.toLocaleString("en")} × ${D.model.d_model}), is row ${token.id} of E:`);
  $("one-hot").firstElementChild.style.left = `${100 * token.id / n}%`;
  strips("embedding-view", oneHot, strip("embedding", at(D.embedding, state.token)),
    ...(D.position ? [strip("position " + state.token, at(D.position, state.token))] : []), strip("what enters the first layer", at(D.entering, state.token)));
  $("neighbours").replaceChildren(...token.neighbours.map(([id, cosine]) => make("span", { class: "chip" }, D.vocabulary[id] + " ", make("small", {}, cosine.toFixed(2)))));
}

function drawMap() {
  const { numbers, shape: [n] } = unpack(D.map.places), piece = i => D.vocabulary[D.map.tokens[i]];
  const span = axis => { const all = Array.from({ length: n }, (_, i) => numbers[2 * i + axis]); return [Math.min(...all), Math.max(...all)]; };
  const [[left, right], [low, high]] = [span(0), span(1)];
  const place = i => [20 + 640 * (numbers[2 * i] - left) / (right - left || 1), 20 + 400 * (numbers[2 * i + 1] - low) / (high - low || 1)];
  const mine = new Set(D.tokens.map(token => token.id)), drawn = [];
  const write = (i, name) => { const [x, y] = place(i); return make("text", { x: x + 5, y: y + 4, class: name }, piece(i)); };
  for (let i = 0; i < n; i++) { const [cx, cy] = place(i); drawn.push(make("circle", { cx, cy, r: 2 }, make("title", {}, piece(i)))); }
  const taken = new Set();
  for (let i = 0; i < n; i++) { const cell = place(i).map((x, axis) => Math.round(x / (axis ? 24 : 70))).join(); if (!mine.has(D.map.tokens[i]) && !taken.has(cell) && /\w/.test(piece(i))) { taken.add(cell); drawn.push(write(i, "")); } }
  D.map.tokens.forEach((token, i) => { if (mine.has(token)) drawn.push(write(i, "mine")); });
  $("map").replaceChildren(...drawn);
}

/* The rows of E whose words make up a − b + c, and the rows that point most nearly where their sum does. */
function drawAnalogy() {
  const size = D.model.d_model, names = D.map.tokens.map(token => D.vocabulary[token]), sum = new Float32Array(size);
  const find = word => names.includes("·" + word) ? names.indexOf("·" + word) : names.indexOf(word);
  const asked = ["a", "b", "c"].map(id => $(id).value.trim()).map(word => [word, find(word)]);
  const unknown = asked.filter(([, row]) => row < 0).map(([word]) => word);
  if (unknown.length) return $("analogy").replaceChildren(unknown.map(word => `“${word}”`).join(", ") + " is no single token here, so it has no row");
  asked.forEach(([, row], i) => at(D.map.rows, row).forEach((x, j) => { sum[j] += i === 1 ? -x : x; }));
  const length = Math.hypot(...sum) || 1;
  const cosines = names.map((name, row) => [name, row, at(D.map.rows, row).reduce((total, x, j) => total + x * sum[j], 0) / length]);
  const answers = cosines.filter(([, row]) => !$("others").checked || !asked.some(([, other]) => other === row)).sort((x, y) => y[2] - x[2]);
  $("analogy").replaceChildren(...answers.slice(0, 8).map(([name, , cosine]) => make("span", { class: "chip" }, name + " ", make("small", {}, cosine.toFixed(2)))),
    !answers.length ? "There is no other token here that could be the answer." : asked.some(([, row]) => row === answers[0][1]) ? "The nearest is a word of the question: the sum does not lead away from it." : "");
}

/* Every head's weights as a small picture: rows look, columns are looked at. */
function drawHeads() {
  if ($("heads").shown === D.layers) return $("heads").childNodes.forEach((button, i) => button.setAttribute("aria-pressed", i === state.layer * D.model.n_heads + state.head));
  $("heads").shown = D.layers;
  const n = D.tokens.length, side = Math.max(1, Math.floor(84 / n)), [plus] = [getComputedStyle(document.documentElement).getPropertyValue("--plus")];
  $("heads").style.gridTemplateColumns = D.model.n_heads > 4 ? `repeat(${D.model.n_heads}, 6.1rem)` : "repeat(auto-fill, 6.1rem)";
  $("heads").replaceChildren(...D.layers.flatMap((L, i) => Array.from({ length: D.model.n_heads }, (_, j) => {
    const canvas = make("canvas", { width: n * side, height: n * side }), pen = canvas.getContext("2d"), weights = at(L.weights, j);
    for (let row = 0; row < n; row++) for (let column = 0; column <= row; column++) {
      pen.fillStyle = `rgba(${plus},${(0.06 + 0.94 * weights[row * n + column]).toFixed(3)})`;
      pen.fillRect(column * side, row * side, side, side);
    }
    const button = make("button", { "aria-label": `layer ${i + 1}, head ${j + 1}`, "aria-pressed": i === state.layer && j === state.head }, canvas, make("small", {}, `layer ${i + 1}, head ${j + 1}`));
    button.onclick = () => { Object.assign(state, { layer: i, head: j }); look(state.token); };
    return button;
  })));
}

function drawArcs() {
  $("arcs-title").textContent = `Where ${D.tokens[state.token].piece} looks: layer ${state.layer + 1}, head ${state.head + 1}`;
  const weights = at(layer().weights, state.head, state.token), gap = Math.max(46, 700 / D.tokens.length), width = gap * D.tokens.length, height = 150;
  const x = i => gap * (i + 0.5);
  $("arcs").setAttribute("viewBox", `0 0 ${width} ${height + 30}`);
  $("arcs").setAttribute("aria-label", `${D.tokens[state.token].piece} looks at ` + D.tokens.slice(0, state.token + 1).map((token, i) => `${token.piece} ${percent(weights[i])}`).join(", "));
  const arcs = D.tokens.slice(0, state.token + 1).map((_, i) => {
    const reach = Math.min(height - 10, 18 + 0.5 * Math.abs(x(state.token) - x(i)));
    const line = i === state.token ? `M${x(i) - 7},${height} C${x(i) - 20},${height - 40} ${x(i) + 20},${height - 40} ${x(i) + 7},${height}`
      : `M${x(state.token)},${height} C${x(state.token)},${height - 1.3 * reach} ${x(i)},${height - 1.3 * reach} ${x(i)},${height}`;
    return make("path", { d: line, "stroke-width": 1 + 11 * weights[i], "stroke-opacity": 0.15 + 0.85 * weights[i] }, make("title", {}, percent(weights[i])));
  });
  const words = D.tokens.map((token, i) => make("text", { x: x(i), y: height + 18, "text-anchor": "middle", "font-weight": i === state.token ? 700 : 400 }, token.piece));
  $("arcs").replaceChildren(...arcs, ...words);
}

function drawAttention() {
  const L = layer(), { token, head } = state, turned = D.model.position === "rope" ? " and turned to its position" : "";
  const placed = (D.model.qk_norm ? ", normalised" : "") + turned;
  strips("qkv", strip("input z, normalised", at(L.attention_input, token)), strip("query", at(L.query, head, token)), strip("key", at(L.key, group(), token)), strip("value", at(L.value, group(), token)),
    ...(placed ? [strip("query" + placed, at(L.placed_query, head, token)), strip("key" + placed, at(L.placed_key, group(), token))] : []));
  drawMatrix($("matrix"), L.weights, [head], true);
  drawScore();
  strips("heard", strip("weighted sum of values", at(L.mixed, head, token)), strip("after the output projection, all heads", at(L.attention_output, token)), strip("the token's vector now", at(L.between, token)));
}

function drawMatrix(table, weights, place, pickable) {
  if (table.weights === weights && table.place === place.join()) return pickable && markPicked(table);
  Object.assign(table, { className: "matrix", weights, place: place.join() });
  const small = D.tokens.length <= 14;
  const head = make("thead", {}, make("tr", {}, make("td", {}), ...D.tokens.map(token => make("th", { scope: "col" }, token.piece))));
  const body = make("tbody", {}, ...D.tokens.map((row, i) => make("tr", {}, make("th", { scope: "row" }, row.piece), ...D.tokens.map((column, j) => {
    if (j > i) return make("td", { class: "future", "aria-label": "the future" });
    const share = at(weights, ...place, i)[j], picked = pickable && i === state.token && j === state.key;
    const cell = make("td", { class: picked ? "picked" : "", style: `background:${colour(share, 1 / LEGIBLE)}`, "data-reading": `${row.piece} → ${column.piece}: ${percent(share)}`, "aria-label": `${row.piece} looks at ${column.piece}: ${percent(share)}` }, small ? Math.round(100 * share) : "");
    if (pickable) { cell.tabIndex = picked ? 0 : -1; cell.onclick = () => pick({ token: i, key: j }); }
    return cell;
  }))));
  table.replaceChildren(head, body);
}

/* The same matrix with another cell picked: nothing else is drawn anew. */
function markPicked(table) {
  const cell = table.tBodies[0].rows[state.token].cells[state.key + 1];
  for (const old of table.querySelectorAll("td.picked")) { old.classList.remove("picked"); old.tabIndex = -1; }
  cell.classList.add("picked");
  cell.tabIndex = 0;
}

function drawScore() {
  const L = layer(), { token, key, head } = state;
  const query = at(L.placed_query, head, token), label = at(L.placed_key, group(), key);
  const products = query.map((x, i) => x * label[i]), sum = products.reduce((a, b) => a + b, 0), root = Math.sqrt(D.model.d_head);
  const names = [D.tokens[token].piece, D.tokens[key].piece];
  const words = make("p", { id: "score-sum" }, `${Array.from(products.slice(0, 3), number).join(" + ")} + … = ${number(sum)}; divided by √${D.model.d_head} = ${number(root)} this is the score `,
    make("b", {}, number(sum / root)), `; softmax over all that ${names[0]} may see makes it `, make("b", {}, percent(at(L.weights, head, token)[key])), ".");
  strips("score", strip(`query of ${names[0]}`, query), strip(`key of ${names[1]}`, label), strip("their products, number by number", products), words);
}

function drawNeurons() {
  const L = layer(), hidden = at(L.hidden, state.token);
  const strongest = Array.from(hidden, (x, i) => [i, x]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 8);
  const names = make("p", { class: "chips" }, "strongest: ", ...strongest.map(([i, x]) => make("span", { class: "chip" }, `neuron ${i} `, make("small", {}, number(x)))));
  const before = L.gate ? [strip("gate, W₁ z", at(L.gate, state.token)), strip("h = W₂ z", at(L.up, state.token))] : [strip("h = W z + b", at(L.up, state.token))];
  strips("neurons", strip("input z", at(L.feed_forward_input, state.token)), ...before, strip(L.gate ? "neurons a = silu(gate) · h" : "neurons a = gelu(h)", hidden, i => `neuron ${i}`), names,
    strip("output", at(L.feed_forward_output, state.token)), strip("the token's vector now", at(L.leaving, state.token)));
}

function drawLens() {
  const rows = D.layers.flatMap((L, i) => [[`layer ${i + 1}, attention`, L.guesses.between], [`layer ${i + 1}, feed-forward`, L.guesses.leaving]]);
  $("lens-table").tBodies[0].replaceChildren(...rows.map(([name, guesses]) => {
    const cell = make("div", { class: "chips" });
    chips(cell, guesses[state.token]);
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, cell));
  }));
}

/* The same cuts in the same order as minigpt's own sampling. */
function distribution(logits, temperature, topK, topP) {
  const order = Array.from(logits, (_, i) => i).sort((a, b) => logits[b] - logits[a]);
  const kept = new Set(temperature < 1e-4 ? order.slice(0, 1) : order);
  const share = tokens => { const top = logits[order[0]]; const powers = tokens.map(i => Math.exp((logits[i] - top) / Math.max(temperature, 1e-4))); const sum = powers.reduce((a, b) => a + b, 0); return powers.map(x => x / sum); };
  if (topK) order.forEach(i => { if (logits[i] < logits[order[Math.min(topK, order.length) - 1]]) kept.delete(i); });
  const left = order.filter(i => kept.has(i));
  let before = 0;
  share(left).forEach((x, rank) => { if (rank && before >= topP) kept.delete(left[rank]); before += x; });
  const final = order.filter(i => kept.has(i)), shares = new Float64Array(logits.length);
  share(final).forEach((x, rank) => { shares[final[rank]] = x; });
  return { order, shares, kept };
}

function drawNext() {
  const [temperature, topK, topP] = ["temperature", "top-k", "top-p"].map(id => Number($(id).value));
  $("temperature-value").value = temperature.toFixed(2);
  $("top-k-value").value = topK || "off";
  $("top-p-value").value = topP >= 1 ? "off" : topP.toFixed(2);
  const { order, shares, kept } = distribution(at(D.logits), temperature, topK, topP >= 1 ? 2 : topP);
  $("distribution").replaceChildren(...order.slice(0, 12).map(token => {
    const written = D.continuations.findIndex(one => one.id === token);
    const name = written < 0 ? make("span", {}, D.vocabulary[token]) : make("button", { "aria-pressed": written === state.candidate }, D.vocabulary[token]);
    if (written >= 0) name.onclick = () => pick({ candidate: written });
    return make("li", { class: kept.has(token) ? "" : "cut", "data-token": token }, make("span", {}, name), make("span", { class: "logit" }, at(D.logits)[token].toFixed(1)), make("div", { class: "bar", style: `width:${100 * shares[token]}%` }), make("span", {}, percent(shares[token])));
  }));
  strips("final", strip("the last token's vector after all layers, normalised", at(D.normed)));
  const chosen = D.continuations[state.candidate];
  $("continuation").replaceChildren(D.prompt, make("mark", {}, chosen.text), " …");
}

/* The parts of a word's logit, or of how far it is above another's. */
function drawOrigin() {
  const { words, logits, parts } = D.attribution, name = i => D.vocabulary[words[i]];
  const options = words.map((_, i) => make("option", { value: i }, name(i)));
  const [word, other] = [$("for"), $("against")].map(select => Math.min(Number(select.value), words.length - 1));  // -1: nothing
  $("for").replaceChildren(...options);
  $("against").replaceChildren($("against").firstElementChild, ...options.map(option => option.cloneNode(true)));
  $("for").value = word; $("against").value = other;
  const value = row => row[word] - (other < 0 ? 0 : row[other]), largest = Math.max(...parts.map(([, row]) => Math.abs(value(row))));
  $("origin-sum").replaceChildren(other < 0 ? `The logit of ${name(word)} is ` : `The logit of ${name(word)} is above that of ${name(other)} by `, make("b", {}, value(logits).toFixed(2)), ":");
  $("origin-bars").replaceChildren(...parts.map(([part, row]) => {
    const x = value(row), side = 50 * Math.abs(x) / (largest || 1);
    return make("li", {}, make("span", {}, part), make("div", {}, make("div", { class: "bar" + (x < 0 ? " minus" : ""), style: `width:${side}%;margin-left:${x < 0 ? 50 - side : 50}%` })), make("span", {}, x.toFixed(2)));
  }));
}

/* Parts that can be switched off, and what the next word then is. */
function drawSwitches() {
  const { words, before, without } = D.switches, parts = Object.keys(without), off = [...state.off].join("+"), now = without[off];
  $("what-if").hidden = !parts.length;
  const button = (part, text) => {
    const one = make("button", { "aria-pressed": state.off.has(part), "aria-label": `without ${part.includes(".") ? "" : "all of "}${without[part].label}` }, text);
    one.onclick = () => toggle(part);
    return make("td", {}, one);
  };
  $("switches").tBodies[0].replaceChildren(...D.layers.filter((_, i) => without[i + 1]).map((_, i) => make("tr", {}, make("th", { scope: "row" }, `layer ${i + 1}`),
    ...Array.from({ length: D.model.n_heads }, (_, j) => button(`${i + 1}.${j + 1}`, `head ${j + 1}`)), button(`${i + 1}.neurons`, "neurons"), button(`${i + 1}`, `all of layer ${i + 1}`))));
  const after = new Map(now ? [...now.guesses, ...words.map((word, i) => [word, now.shares[i]])] : words.map((word, i) => [word, before[i]]));
  const share = word => words.includes(word) ? before[words.indexOf(word)] : null;
  const told = word => share(word) === null ? "less" : percent(share(word));
  $("what-if-sum").textContent = now ? `P(${D.vocabulary[words[0]]}) ${told(words[0])} → ${percent(after.get(words[0]))} without ${now.label}` : "Nothing is off.";
  const shown = [...after].filter(([word, x]) => Math.max(x, share(word)) >= 0.0005).sort((a, b) => b[1] - a[1]);
  $("what-if-words").replaceChildren(...shown.map(([word, x]) => make("li", {}, make("span", {}, D.vocabulary[word]),
    make("div", {}, make("div", { class: "bar", style: `width:${100 * x}%` }), make("div", { class: "bar was", style: `width:${100 * (share(word) || 0)}%` })), make("span", {}, now ? `${told(word)} → ${percent(x)}` : percent(x)))));
}

function toggle(part) {
  const off = new Set($("prompt") ? state.off : []);
  if (!state.off.has(part)) off.add(part); else off.delete(part);
  state.off = off;
  if (off.size > 1 && !D.switches.without[[...off].join("+")]) return ask();
  const label = document.activeElement.getAttribute("aria-label");
  drawSwitches();
  const again = $("switches").querySelector(`[aria-label="${label}"]`);
  if (again) again.focus({ preventScroll: true });
}

/* How surprising each word is, before and after one step of gradient descent on this very text. */
function drawLearning() {
  const { learning } = D;
  $("learning").hidden = !learning;
  if (!learning) return;
  const update = learning.updates && learning.updates[state.update], nats = (update || learning).surprises;
  const mean = numbers => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  $("guessing").textContent = `ln ${D.model.vocab_size.toLocaleString("en")} = ${learning.guessing.toFixed(2)}`;
  $("surprises").replaceChildren(...D.tokens.slice(1).map((token, i) => make("span", { class: "chip", style: `background:${colour(-Math.min(nats[i], learning.guessing), learning.guessing / LEGIBLE)}` }, token.piece + " ", make("small", {}, nats[i].toFixed(2)))));
  $("update").hidden = !update;
  if (!update) return;
  const [first] = learning.updates, last = learning.updates.length - 1;
  $("rate").max = last; $("rate").value = state.update;
  $("rate-value").value = update.rate;
  $("rate").setAttribute("aria-valuetext", `rate ${update.rate}`);
  $("update-sum").textContent = `Loss on this text: ${mean(first.surprises).toFixed(3)} → ${mean(nats).toFixed(3)} nats. On one that the model wrote itself (“${learning.own.trim()}”): ${first.own.toFixed(3)} → ${update.own.toFixed(3)}. The next word is then:`;
  chips($("update-guesses"), update.guesses);
}

function drawTraining() {
  const stage = D.stages[state.stage];
  $("training").hidden = !D.stages.length;
  if (!stage) return;
  $("stage").max = D.stages.length - 1;
  $("stage").value = state.stage;
  $("stage-value").value = stage.step.toLocaleString("en");
  $("stage").setAttribute("aria-valuetext", `step ${stage.step}`);
  chips($("stage-guesses"), stage.guesses);
  drawMatrix($("stage-matrix"), stage.weights, [state.layer, state.head], false);
}

function drawToken() {
  drawControls(); drawTokens(); drawVectors(); drawHeads(); drawArcs(); drawAttention(); drawNeurons(); drawLens(); drawTraining();
}

function pick(change) {
  const where = document.activeElement && document.activeElement.closest("#tokens, #heads, #matrix, #distribution");
  Object.assign(state, change);
  state.key = Math.min(state.key, state.token);
  if ("candidate" in change) drawNext(); else if ("update" in change) drawLearning(); else if ("stage" in change) drawTraining(); else drawToken();
  const again = where && where.querySelector("[aria-checked=true], td.picked, [aria-pressed=true]");
  if (again) again.focus({ preventScroll: true });
}

/* Picks a token, and of those that it looks at the one that it looks at most. */
function look(token) {
  const weights = at(layer().weights, state.head, token);
  pick({ token, key: weights.indexOf(Math.max(...weights)) });
}

/* Keys: arrows move among the tokens and in the matrix. */
function step(event, moves, apply) {
  const move = moves[event.key];
  if (move) { event.preventDefault(); apply(move); }
}

const last = () => D.tokens.length - 1, within = (x, most) => Math.max(0, Math.min(most, x));
$("tokens").onkeydown = event => step(event, { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }, move => look(within(state.token + move, last())));
$("matrix").onkeydown = event => step(event, { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, ([row, column]) => {
  const token = within(state.token + row, last());
  pick({ token, key: within(state.key + column, token) });
});
$("layer").onchange = event => { state.layer = Number(event.target.value); look(state.token); };
$("head").onchange = event => { state.head = Number(event.target.value); look(state.token); };
$("rate").oninput = event => pick({ update: Number(event.target.value) });
$("stage").oninput = event => pick({ stage: Number(event.target.value) });
["for", "against"].forEach(id => { $(id).onchange = drawOrigin; });
["temperature", "top-k", "top-p"].forEach(id => { $(id).oninput = drawNext; });
$("temperature").value = D.sampling.temperature;
$("top-k").value = D.sampling.top_k || 0;
$("top-p").value = D.sampling.top_p || 1;

const reading = make("div", { id: "reading", hidden: "" });
document.body.append(reading);
document.addEventListener("pointermove", event => {
  const text = event.target.dataset && event.target.dataset.reading;
  reading.hidden = !text;
  if (text) { reading.textContent = text; reading.style.left = Math.min(event.clientX + 12, innerWidth - 160) + "px"; reading.style.top = event.clientY - 34 + "px"; }
});

["a", "b", "c", "others"].forEach(id => { $(id).oninput = drawAnalogy; });
$("words").append(...D.map.tokens.map(token => make("option", { value: D.vocabulary[token].replace(/^·/, "") })));
const known = ["king", "man", "woman"].every(word => D.vocabulary.includes("·" + word));
["king", "man", "woman"].forEach((word, i) => { $(["a", "b", "c"][i]).value = known ? word : D.vocabulary[D.map.tokens[i % D.map.tokens.length]].replace(/^·/, ""); });

function read() { look(state.token); drawNext(); drawOrigin(); drawSwitches(); drawLearning(); }

function start() { drawMap(); drawAnalogy(); read(); }

start();

/* Live: another text, or newer weights, from the server that the page came from. */
let asked = 0, later;

/* The picture at once; the step of learning, which takes longer, when nothing else is wanted. */
async function ask(learning = false) {
  const mine = ++asked;
  clearTimeout(later);
  try {
    const answer = await fetch("data", { method: "POST", body: JSON.stringify({ prompt: $("prompt").value, step: D.step, without: [...state.off], learning }) });
    const data = await answer.json();
    if (mine !== asked) return;
    $("trouble").textContent = data.error || "";
    if (data.error) return;
    if (learning && !data.map) { D.learning = data.learning; return drawLearning(); }
    D = { ...D, ...data };
    $("step").textContent = D.step.toLocaleString("en");
    Object.assign(state, { token: last(), candidate: 0, update: 0, stage: D.stages.length - 1 });
    if (data.map) start(); else { read(); later = setTimeout(ask, 400, true); }
  } catch { $("trouble").textContent = "minigpt does not answer; is it still running?"; }
}

if ($("prompt")) {
  let waiting;
  $("append").onclick = () => { $("prompt").value = D.prompt + D.continuations[state.candidate].next; ask(); };
  $("prompt").oninput = () => { clearTimeout(waiting); waiting = setTimeout(ask, 30); };
  setInterval(async () => {
    if (document.hidden) return;
    const step = await fetch("step").then(answer => answer.json()).catch(() => D.step);
    if (step !== D.step) ask();
  }, 3000);
}
