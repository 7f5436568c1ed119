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
