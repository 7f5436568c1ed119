/* Neurons, what each layer would say, the next word. */

function drawNeurons() {
  const L = layer(), { token } = state, hidden = at(L.hidden, token);
  const strongest = Array.from(hidden, (x, i) => [i, x]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 8);
  const names = make("div", { id: "strongest" }, make("h3", {}, "The strongest neurons, and where in other texts they fire most, either way"), ...strongest.map(([i, x]) =>
    make("div", {}, chip(`neuron ${i}`, number(x)), make("ul", {}, ...firings(i)))));
  drawCurve(at(L.gate ?? L.up, token));
  const show = (what, name, label) => strip(name, at(L[what], token), { what, token, layer: state.layer }, label);
  const before = L.gate ? [show("gate", "gate, W₁ z"), show("up", "h = W₂ z")] : [show("up", "h = W z + b")];
  strips("neurons", show("feed_forward_input", "input z"), ...before, show("hidden", L.gate ? "neurons a = silu(gate) · h" : "neurons a = gelu(h)", i => `neuron ${i}`), names,
    show("feed_forward_output", "output"), show("leaving", "the token's vector now"));
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
  const share = tokens => { const top = logits[order[0]]; const powers = tokens.map(i => Math.exp((logits[i] - top) / Math.max(temperature, 1e-4))), sum = total(powers); return powers.map(x => x / sum); };
  if (topK) order.forEach(i => { if (logits[i] < logits[order[Math.min(topK, order.length) - 1]]) kept.delete(i); });
  const left = order.filter(i => kept.has(i));
  let before = 0;
  share(left).forEach((x, rank) => { if (rank && before >= topP) kept.delete(left[rank]); before += x; });
  const final = order.filter(i => kept.has(i)), shares = new Float64Array(logits.length);
  share(final).forEach((x, rank) => { shares[final[rank]] = x; });
  return { order, shares, kept };
}

/* The curve f, and where on it this token's neurons are. */
function drawCurve(inputs) {
  const f = D.model.feed_forward === "swiglu" ? silu : x => x * phi(x), x = h => 20 + 40 * (within(h + 8, 16)), y = a => 200 - 20 * Math.min(8.5, a), line = Array.from({ length: 161 }, (_, i) => i / 10 - 8);
  $("curve").replaceChildren(make("path", { d: `M20,200 H660 M340,20 V215`, class: "axis" }), make("path", { d: "M" + line.map(h => `${x(h)},${y(f(h))}`).join(" L") }),
    ...Array.from(inputs, h => make("circle", { cx: x(h), cy: y(f(within(h + 8, 16) - 8)), r: 3 })), make("text", { x: 24, y: 190 }, "−8"), make("text", { x: 640, y: 190 }, "8"), make("text", { x: 346, y: 32 }, D.model.feed_forward === "swiglu" ? "silu(g) = g / (1 + e⁻ᵍ)" : "gelu(h) = h · Φ(h)"));
  $("curve").setAttribute("aria-label", `The curve ${D.model.feed_forward === "swiglu" ? "silu" : "gelu"} with this token's ${inputs.length} neurons: ${inputs.filter(h => h > 0).length} are right of 0, where it rises`);
}

function drawNext() {
  const [temperature, topK, topP] = ["temperature", "top-k", "top-p"].map(id => Number($(id).value));
  $("temperature-value").value = temperature.toFixed(2);
  $("top-k-value").value = topK || "off";
  $("top-p-value").value = topP >= 1 ? "off" : topP.toFixed(2);
  ["temperature", "top-k", "top-p"].forEach(id => $(id).setAttribute("aria-valuetext", $(`${id}-value`).value));
  const { order, shares, kept } = distribution(at(D.logits), temperature, topK, topP >= 1 ? 2 : topP);
  $("distribution").replaceChildren(...order.slice(0, 12).map(token => {
    const written = D.continuations.findIndex(one => one.id === token);
    const name = written < 0 ? make("span", {}, D.vocabulary[token]) : make("button", { "aria-pressed": written === state.candidate }, D.vocabulary[token]);
    if (written >= 0) name.onclick = () => pick({ candidate: written });
    return make("li", { class: kept.has(token) ? "" : "cut", "data-token": token }, make("span", {}, name), figure({ what: "logit", token: last(), i: token }, at(D.logits)[token].toFixed(1)), make("div", { class: "bar", style: `width:${100 * shares[token]}%` }), make("span", {}, kept.has(token) ? percent(shares[token]) : "cut"));
  }));
  strips("final", strip("the last token's vector after all layers, normalised", at(D.normed), { what: "normed", token: last() }));
  const chosen = D.continuations[state.candidate];
  $("continuation").replaceChildren(D.prompt, make("mark", {}, chosen.text || D.vocabulary[chosen.id]), chosen.text ? " …" : "");
  if ($("append")) $("append").disabled = !chosen.next;
}
