/* The whole way of the text in one picture, always at the top: every station leads to its chapter. */

function station(chapter, name, shape, picture, layer = null) {
  const link = make("a", { href: `#${chapter}`, "data-chapter": chapter, "data-layer": layer ?? "" }, picture, make("span", {}, name), make("small", {}, shape));
  link.onclick = event => {
    event.preventDefault();  // in a notebook's frame a link would lead to the notebook
    location.hash = chapter;
    toLayer(layer ?? state.layer);
  };
  return make("li", {}, link);
}

/* The layer is remembered with the address, for the way back. */
function toLayer(layer) {
  history.replaceState({ layer }, "");
  if (layer !== state.layer) { state.layer = layer; look(state.token); }
}
addEventListener("popstate", event => { if (event.state) toLayer(event.state.layer); });

/* Of all heads, the most that each token looks at each other. */
function strongestLooks(L) {
  const most = new Float32Array(at(L.weights, 0));
  for (let head = 1; head < D.model.n_heads; head++) at(L.weights, head).forEach((x, i) => { most[i] = Math.max(most[i], x); });
  return most;
}

function drawWay() {
  const n = D.tokens.length, { n_heads, d_model } = D.model;
  const picture = (numbers, columns) => paint(make("canvas", { "aria-hidden": "true" }), numbers, columns, 0.4 * numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
  const words = (text, name) => make("b", { class: name }, text);
  const { words: likeliest, before } = D.switches, changed = switched(), shares = changed?.shares ?? before;
  const best = likeliest.slice(0, 3).map((word, i) => make("span", { class: "guess" }, make("i", { style: `width:${100 * shares[i]}%` }), `${D.vocabulary[word]} ${changed ? `${percent(before[i])} → ` : ""}${percent(shares[i])}`));
  $("way").replaceChildren(
    station("text", "text", `${[...D.prompt].length} characters`, words(D.prompt, "said")),
    station("text", "tokens", `${n} ids`, words(D.tokens.map(token => token.id).join(" "), "said")),
    station("vectors", "vectors", `${n} × ${d_model}`, picture(unpack(D.entering).numbers, d_model)),
    ...D.layers.flatMap((L, i) => [
      station("attention", `${i + 1} looks`, `${n_heads} head${n_heads > 1 ? "s" : ""}`, picture(strongestLooks(L), n), i),
      station("thinking", `${i + 1} thinks`, `${L.hidden.shape[1]} neurons`, picture(unpack(L.hidden).numbers, L.hidden.shape[1]), i)]),
    station("next", "next word", changed ? `${state.off.size} part${state.off.size > 1 ? "s" : ""} off` : `1 of ${D.model.vocab_size.toLocaleString("en")}`, make("b", {}, ...best)));
}

/* The station whose chapter is read, or the last one before it. */
let chapter = "";
function markStation() {
  let current = null;
  $("chapter").value = chapter;
  for (const link of $("way").querySelectorAll("a")) {
    link.removeAttribute("aria-current");
    if (link.dataset.chapter === chapter && ["", String(state.layer)].includes(link.dataset.layer)) current ??= link;
  }
  if (!current) return;
  current.setAttribute("aria-current", "location");
  const { offsetLeft, offsetWidth } = current.parentElement, free = $("way").clientWidth - $("way").lastElementChild.offsetWidth;  // which stays in view
  $("way").scrollLeft = offsetLeft - $("way").offsetLeft - (free - offsetWidth) / 2;
}

const chapters = Array.from(document.querySelectorAll("main section"));
function findChapter() {
  const edge = $("top").offsetHeight + innerHeight / 4;
  const now = chapters.findLast((section, i) => !section.hidden && (!i || section.getBoundingClientRect().top < edge)).id;
  if (now !== chapter) { chapter = now; markStation(); }
}
new ResizeObserver(([{ target }]) => { document.documentElement.style.scrollPaddingTop = `${target.offsetHeight + 8}px`; }).observe($("top"));
document.addEventListener("scroll", findChapter, { passive: true });

function listChapters() {
  $("chapter").replaceChildren(...chapters.filter(section => !section.hidden).map(({ id }, i) => make("option", { value: id }, `${i + 1} ${$(id).querySelector("h2").textContent.trim()}`)));
  $("chapter").value = chapter;
}
$("chapter").onchange = event => { location.hash = event.target.value; };
