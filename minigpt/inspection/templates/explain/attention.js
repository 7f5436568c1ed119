/* Every head's weights as a small picture: rows look, columns are looked at. */
function drawHeads() {
  if ($("heads").shown === D.layers) return $("heads").childNodes.forEach((button, i) => button.setAttribute("aria-pressed", i === state.layer * D.model.n_heads + state.head));
  $("heads").shown = D.layers;
  $("heads").style.gridTemplateColumns = D.model.n_heads > 4 ? `repeat(${D.model.n_heads}, 6.1rem)` : "repeat(auto-fill, 6.1rem)";
  $("heads").replaceChildren(...D.layers.flatMap((L, i) => Array.from({ length: D.model.n_heads }, (_, j) => {
    const name = `layer ${i + 1}, head ${j + 1}`, picture = paint(make("canvas"), at(L.weights, j), D.tokens.length, 1);
    const button = make("button", { "aria-label": name, "aria-pressed": i === state.layer && j === state.head }, picture, make("small", {}, name));
    button.onclick = () => { Object.assign(state, { layer: i, head: j }); look(state.token); };
    return button;
  })));
}

function drawArcs() {
  const { token } = state, weights = at(layer().weights, state.head, token), height = 150;
  $("arcs-title").textContent = `Where ${D.tokens[token].piece} looks: layer ${state.layer + 1}, head ${state.head + 1}`;
  const widths = D.tokens.map(({ piece }) => Math.max(46, 9 * piece.length + 12)), width = total(widths);
  const x = widths.map((own, i) => total(widths.slice(0, i)) + own / 2);
  $("arcs").setAttribute("viewBox", `0 0 ${width} ${height + 30}`);
  Object.assign($("arcs").style, { minWidth: `${0.8 * width}px`, maxWidth: `${1.4 * width}px` });
  $("arcs").setAttribute("aria-label", `${D.tokens[token].piece} looks at ` + D.tokens.slice(0, token + 1).map(({ piece }, i) => `${piece} ${percent(weights[i])}`).join(", "));
  const arcs = D.tokens.slice(0, token + 1).map((_, i) => {
    const reach = 1.3 * Math.min(height - 10, 18 + 0.5 * Math.abs(x[token] - x[i]));
    const line = i === token ? `M${x[i] - 7},${height} C${x[i] - 20},${height - 40} ${x[i] + 20},${height - 40} ${x[i] + 7},${height}`
      : `M${x[token]},${height} C${x[token]},${height - reach} ${x[i]},${height - reach} ${x[i]},${height}`;
    return make("path", { d: line, "stroke-width": 1 + 11 * weights[i], "stroke-opacity": 0.15 + 0.85 * weights[i] });
  });
  $("arcs").readAt = event => {
    const at = (event.clientX - $("arcs").getBoundingClientRect().left) * width / $("arcs").clientWidth, i = x.findIndex((middle, j) => Math.abs(middle - at) <= widths[j] / 2);
    return i >= 0 && i <= token ? looks(layer().weights, [state.head], token, i) : "";
  };
  const words = D.tokens.map(({ piece }, i) => make("text", { x: x[i], y: height + 18, "text-anchor": "middle", "font-weight": i === token ? 700 : 400 }, piece));
  $("arcs").replaceChildren(...arcs, ...words);
  const box = $("arcs").parentElement, scale = $("arcs").clientWidth / width;
  box.scrollLeft = x[token] * scale - box.clientWidth / 2;
}

function drawAttention() {
  const L = layer(), { token, head } = state, turned = D.model.position === "rope" ? " and turned to its position" : "";
  const changed = (D.model.qk_norm ? ", normalised" : "") + turned;
  const show = (what, name = what) => strip(name, values({ ...state, what }), { what, token, head, layer: state.layer });
  strips("qkv", show("attention_input", "input z, normalised"), show("query"), show("key"), show("value"),
    ...(changed ? [show("placed_query", "query" + changed), show("placed_key", "key" + changed)] : []));
  drawMatrix($("matrix"), L.weights, [head], [token, state.key]);
  $("picked").replaceChildren(looks(L.weights, [head], token, state.key) + " ", figure({ what: "weight", layer: state.layer, head, token, i: state.key }, "why?"));
  drawScore();
  const weights = at(L.weights, head, token), strongest = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]).slice(0, 4).filter(i => weights[i] >= 0.005);
  $("mixture").textContent = strongest.map(i => `${weights[i].toFixed(2)} · value(${D.tokens[i].piece})`).join(" + ") + (strongest.length <= token ? " + …" : "");
  strips("heard", show("mixed", "weighted sum of values"), show("attention_output", "after the output projection, all heads"), show("between", "the token's vector now"));
}

/* A head's weights: rows look, columns are looked at. */
function drawMatrix(canvas, weights, place, picked = null) {
  const n = D.tokens.length, cell = n <= 14 ? 32 : n <= 40 ? 20 : 12, font = `${Math.min(14, cell - 1)}px system-ui, sans-serif`, pen = canvas.getContext("2d"), zoom = devicePixelRatio;
  pen.font = font;
  const edge = 8 + Math.min(140, Math.max(...D.tokens.map(({ piece }) => pen.measureText(piece).width))), side = edge + n * cell;
  Object.assign(canvas, { width: side * zoom, height: side * zoom });
  Object.assign(canvas.style, { width: `${side}px`, height: `${side}px` });
  Object.assign(pen, { font, textBaseline: "middle" });
  pen.setTransform(zoom, 0, 0, zoom, 0, 0);
  const ink = (share, i, j) => { pen.fillStyle = `rgba(${palette.plus},${share})`; pen.fillRect(edge + j * cell, edge + i * cell, cell - 1, cell - 1); };
  const write = (text, x, y, align) => { pen.fillStyle = palette.ink; pen.textAlign = align; pen.fillText(text, x, y, edge - 8); };
  D.tokens.forEach(({ piece }, i) => {
    write(piece, edge - 4, edge + (i + 0.5) * cell, "right");
    pen.rotate(-Math.PI / 2); write(piece, 4 - edge, edge + (i + 0.5) * cell, "left"); pen.rotate(Math.PI / 2);
    at(weights, ...place, i).forEach((share, j) => {
      if (j > i) return pen.strokeRect(edge + j * cell + cell / 2 - 1, edge + i * cell + cell / 2 - 1, 1, 1);
      ink(0.04 + share * (n <= 14 ? LEGIBLE : 0.96), i, j);
      if (n <= 14) write(Math.round(100 * share), edge + (j + 0.5) * cell, edge + (i + 0.5) * cell, "center");
    });
  });
  if (picked) Object.assign(pen, { lineWidth: 2, strokeStyle: palette.ink }).strokeRect(edge + picked[1] * cell, edge + picked[0] * cell, cell - 1, cell - 1);
  canvas.cellAt = event => { const [i, j] = [event.offsetY, event.offsetX].map(x => Math.floor((x - edge) / cell)); return j >= 0 && j <= i && i < n ? [i, j] : null; };
  canvas.readAt = event => { const cell = canvas.cellAt(event); return cell ? looks(weights, place, ...cell) : ""; };
}

const looks = (weights, place, i, j) => `${D.tokens[i].piece} looks at ${D.tokens[j].piece}: ${percent(at(weights, ...place, i)[j])}`;

$("matrix").onclick = event => { const cell = $("matrix").cellAt(event); if (cell) pick({ token: cell[0], key: cell[1] }); };
$("matrix").onkeydown = event => step(event, ARROWS, ([row, column]) => {
  const token = within(state.token + row, last());
  pick({ token, key: within(state.key + column, token) });
});

function drawScore() {
  const L = layer(), { token, key, head } = state;
  const query = at(L.placed_query, head, token), label = at(L.placed_key, group(), key);
  const there = { layer: state.layer, head, token, key }, products = values({ ...there, what: "product" }), sum = total(products), root = Math.sqrt(D.model.d_head);
  const names = [D.tokens[token].piece, D.tokens[key].piece];
  const words = make("p", { id: "score-sum" }, `${Array.from(products.slice(0, 3), number).join(" + ")} + … = ${number(sum)}; divided by √${D.model.d_head} = ${number(root)} this is the score `,
    figure({ ...there, what: "score", i: key }, number(sum / root)), `; softmax over all that ${names[0]} may see makes it `, figure({ ...there, what: "weight", i: key }, percent(at(L.weights, head, token)[key])), ".");
  strips("score", strip(`query of ${names[0]}`, query, { ...there, what: "placed_query" }), strip(`key of ${names[1]}`, label, { ...there, what: "placed_key", token: key }), strip("their products, number by number", products, { ...there, what: "product" }), words);
  drawTerms();
}

const word = i => D.tokens[i].piece.replace(/^·(?=.)/, "");
const find = text => D.tokens.findIndex((_, i) => word(i) === text);

/* The head that shows best how one token listens to another: "her" to "Alice", where both are tokens, or the last to any. */
function tellingPair() {
  const [from, to] = [find("her"), find("Alice")], known = from > to && to >= 0, token = known ? from : last();
  let found = { layer: 0, head: 0, key: 0 }, most = -1;
  D.layers.forEach((L, layer) => { for (let head = 0; head < D.model.n_heads; head++) for (let key = known ? to : 1; key < (known ? to + 1 : token); key++) {
    const share = at(L.weights, head, token)[key];
    if (share > most) { most = share; found = { layer, head, key }; }
  } });
  return { token, ...found };
}
