/* Text, tokens, vectors. */

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
