/* Text, tokens, vectors. */

function drawControls() {
  $("tokens").replaceChildren(...D.tokens.map((token, i) => {
    const button = make("button", { role: "radio", "aria-checked": i === state.token, tabindex: i === state.token ? 0 : -1 }, token.piece);
    button.onclick = () => look(i);
    return button;
  }));
  const options = n => Array.from({ length: n }, (_, i) => make("option", { value: i }, i + 1));
  if (!$("layer").length) { $("layer").append(...options(D.model.n_layers)); $("head").append(...options(D.model.n_heads)); }
  $("layer").value = state.layer;
  $("head").value = state.head;
  const chosen = $("tokens").children[state.token];
  $("tokens").scrollLeft = chosen.offsetLeft - $("tokens").offsetLeft - $("tokens").clientWidth / 2;
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
  strips("embedding-view", oneHot, strip("embedding", at(D.embedding, state.token), { what: "embedding", token: state.token }),
    ...(D.position ? [strip("position " + state.token, at(D.position, state.token), { what: "position", token: state.token })] : []), strip("what enters the first layer", at(D.entering, state.token), { what: "entering", token: state.token }));
  $("neighbours").replaceChildren(...token.neighbours.map(([id, cosine]) => chip(D.vocabulary[id], cosine.toFixed(2))));
}

let mapPlace;

function drawMap() {
  const { numbers, shape: [n] } = unpack(D.map.places), piece = i => D.vocabulary[D.map.tokens[i]];
  const [[left, right], [low, high]] = [0, 1].map(axis => { const all = numbers.filter((_, i) => i % 2 === axis); return [Math.min(...all), Math.max(...all)]; });
  mapPlace = i => [20 + 640 * (numbers[2 * i] - left) / (right - left || 1), 20 + 400 * (numbers[2 * i + 1] - low) / (high - low || 1)];
  const mine = new Set(D.tokens.map(token => token.id)), all = Array.from({ length: n }, (_, i) => i), size = wide.matches ? 14 : 22, taken = [];
  /* A word beside its point, where no other is written. */
  const write = (i, name) => {
    const [x, y] = mapPlace(i), right = x + 5 + 0.6 * size * piece(i).length;
    if (taken.some(other => x < other.right && right > other.x && Math.abs(y - other.y) < size)) return [];
    taken.push({ x, y, right });
    return [make("text", { x: x + 5, y: y + 4, class: name }, piece(i))];
  };
  const points = all.map(i => { const [cx, cy] = mapPlace(i); return make("circle", { cx, cy, r: 2 }); });
  const [own, others] = [all.filter(i => mine.has(D.map.tokens[i])), all.filter(i => !mine.has(D.map.tokens[i]) && /\w/.test(piece(i)))];
  $("map").replaceChildren($("map").firstElementChild, ...points, ...own.flatMap(i => write(i, "mine")), ...others.flatMap(i => write(i, "")));
  $("map").readAt = event => {
    const box = $("map").getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top].map(x => 720 * x / box.width);
    const far = i => Math.hypot(mapPlace(i)[0] - x, mapPlace(i)[1] - y), nearest = all.reduce((best, i) => far(i) < far(best) ? i : best);
    return far(nearest) < 12 ? piece(nearest) : "";
  };
}

/* The rows of E, each of length 1, whose words make up a − b + c, and the rows that point most nearly where their sum does. */
const directions = token => { const row = embeddingRow(token), length = Math.hypot(...row) || 1; return row.map(x => x / length); };

function drawAnalogy() {
  const names = D.map.tokens.map(token => D.vocabulary[token]), rows = D.map.tokens.map(directions);
  const find = word => names.includes("·" + word) ? names.indexOf("·" + word) : names.indexOf(word);
  const asked = ["a", "b", "c"].map(id => $(id).value.trim()).map(word => [word, find(word)]);
  const unknown = asked.filter(([, row]) => row < 0).map(([word]) => word);
  drawArrows(unknown.length ? [] : asked.map(([, row]) => row));
  if (unknown.length) return $("analogy").replaceChildren(unknown.map(word => `“${word}”`).join(", ") + " is no single token here, so it has no row");
  const [a, b, c] = asked.map(([, row]) => rows[row]), sum = a.map((x, j) => x - b[j] + c[j]), length = Math.hypot(...sum) || 1;
  const cosines = names.map((name, row) => [name, row, dot(rows[row], sum) / length]);
  const answers = cosines.filter(([, row]) => !$("others").checked || !asked.some(([, other]) => other === row)).sort((x, y) => y[2] - x[2]);
  $("analogy").replaceChildren(...answers.slice(0, 8).map(([name, , cosine]) => chip(name, cosine.toFixed(2))),
    !answers.length ? "There is no other token here that could be the answer." : asked.some(([, row]) => row === answers[0][1]) ? "The nearest is a word of the question: the sum does not lead away from it." : "");
}

/* On the map the way from b to a, and the same way from c: it ends where the sum is. */
function drawArrows(words) {
  $("map").querySelectorAll("line, .word").forEach(old => old.remove());
  const written = Array.from($("map").querySelectorAll("text"));
  written.forEach(text => { text.style.display = ""; });
  if (!words.length) return;
  const [a, b, c] = words.map(mapPlace), end = c.map((x, axis) => x + a[axis] - b[axis]);
  const arrow = ([x1, y1], [x2, y2]) => make("line", { x1, y1, x2, y2, "marker-end": "url(#arrow)" });
  const named = words.map((row, i) => { const [x, y] = [a, b, c][i]; return make("text", { x: x + 5, y: y + 4, class: "word" }, D.vocabulary[D.map.tokens[row]]); });
  $("map").append(arrow(b, a), arrow(c, end), ...named);
  const meet = (one, other) => one.x < other.x + other.width && other.x < one.x + one.width && one.y < other.y + other.height && other.y < one.y + one.height;
  const [places, others] = [named, written].map(all => all.map(text => text.getBBox()));
  written.forEach((text, i) => { if (places.some(place => meet(place, others[i]))) text.style.display = "none"; });
}
