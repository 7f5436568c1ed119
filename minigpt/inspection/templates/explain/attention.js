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
