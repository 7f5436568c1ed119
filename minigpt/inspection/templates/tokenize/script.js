/* One text under several tokenizers: each row knows which bytes of the text its tokens cover. */

const $ = id => document.getElementById(id), count = n => n.toLocaleString("en"), plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const CHUNK = 300, COLOURS = 5, GUESS = 2;  // tokens that are drawn at once; colours in turn; pixels of height for each token not yet drawn
const END = "\u200b";  // so that a last line is there while it is empty
const HINT = $("told").textContent, field = $("field"), encoder = new TextEncoder(), decoder = new TextDecoder(), rows = [];
let D = JSON.parse($("data").textContent), bytes, picked = null;

/* Text is always set as text, never as markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* Rows. Of a long text those chunks are drawn that come near the view. */
const near = new IntersectionObserver(entries => entries.forEach(entry => { if (entry.isIntersecting) draw(entry.target.chunk); }), { rootMargin: "300px" });

function makeRow(name, number) {
  const counts = make("p", { class: "counts" });
  const box = make("div", { class: "pieces", role: "listbox", tabindex: 0, "aria-orientation": "horizontal", "aria-labelledby": `name-${number}` });
  $("rows").append(make("section", {}, make("div", {}, make("h2", { id: `name-${number}` }, name), counts), box));
  return box.row = { name, number, counts, box, chunks: [] };
}

function fill(row, data) {
  const top = row.box.scrollTop, n = data.error ? 0 : data.ids.length;
  row.counts.replaceChildren(...(data.error ? [data.error] : [make("b", {}, plural(n, "token")), ` · ${data.bytes_per_token.toFixed(2)} bytes per token · ${data.kind}, vocabulary of ${count(data.vocab_size)}`]));
  row.box.hidden = !n;
  row.chunks.forEach(chunk => near.unobserve(chunk.element));
  const characters = new Map((data.characters || []).map(([first, end, text]) => [first, { end, text }])), chunks = [];
  Object.assign(row, { data, n, characters, chunks, first: 0, end: 0 });
  for (let end = 0; end < n;) {
    const first = end;
    while (end < n && end - first < CHUNK) end = characters.has(end) ? characters.get(end).end : end + 1;
    const element = make("div", { class: "chunk", style: `min-height: ${GUESS * (end - first)}px` });
    chunks.push(element.chunk = { row, first, end, element });
  }
  row.box.replaceChildren(...chunks.map(chunk => chunk.element));
  row.box.scrollTop = top;
  chunks.forEach(chunk => near.observe(chunk.element));
}

function draw(chunk) {
  if (chunk.drawn) return;
  const { row, element } = chunk, parts = [], height = element.offsetHeight, above = element.offsetTop < row.box.scrollTop;
  for (let i = chunk.first; i < chunk.end;) {
    const character = row.characters.get(i), end = character ? character.end : i + 1, tokens = [];
    for (; i < end; i++) tokens.push(makeToken(row, i));
    if (character) parts.push(make("span", { class: "character", role: "group", "aria-label": character.text }, make("b", { "aria-hidden": true }, character.text), make("span", {}, ...tokens)));
    else parts.push(...tokens);
    if (bytes[row.data.ends[i - 1] - 1] === 10) parts.push(make("hr", { role: "none" }));
  }
  element.replaceChildren(...parts);
  element.style.minHeight = "";
  if (above) row.box.scrollTop += element.offsetHeight - height;  // what is in view stays there
  chunk.drawn = true;
  near.unobserve(element);
}

function makeToken(row, i) {
  const id = row.data.ids[i], covered = i >= row.first && i < row.end ? " covered" : "";
  const token = make("span", { role: "option", id: `token-${row.number}-${i}`, class: `token c${i % COLOURS}${covered}`, "aria-selected": false, "aria-posinset": i + 1, "aria-setsize": row.n },
    row.data.vocabulary[id].piece, make("small", {}, id));
  return Object.assign(token, { row, i });
}

const drawn = (row, i) => $(`token-${row.number}-${i}`);

/* Bring a token into its row's view; the page stays where it is. */
function reveal(row, i) {
  draw(row.chunks.find(chunk => i < chunk.end));
  bring(row.box, drawn(row, i));
}

function bring(box, part) {
  const outside = box.getBoundingClientRect(), inside = part.getBoundingClientRect();
  if (inside.top < outside.top || inside.bottom > outside.bottom) box.scrollTop += inside.top - outside.top - outside.height / 3;
}

/* Mark bytes of the text, there and in every row. */
function mark(start, end) {
  for (const row of rows) {
    for (const token of row.box.querySelectorAll(".covered")) token.classList.remove("covered");
    [row.first, row.end] = covering(row, start, end);
    for (let i = row.first; i < row.end; i++) drawn(row, i)?.classList.add("covered");
    if (row.first < row.end) reveal(row, row.first);
  }
  showText(start, end);
}

/* The first of a row's tokens that cover these bytes, and the one after the last. */
function covering({ data, n }, start, end) {
  let first = 0;
  while (first < n && data.ends[first] <= start) first++;
  let last = first;
  while (start < end && last < n && data.starts[last] < end) last++;
  return [first, last];
}

function showText(start, end) {
  const inside = place => (bytes[place] & 0xC0) === 0x80, text = (...range) => decoder.decode(bytes.subarray(...range));
  while (inside(start)) start--;
  while (inside(end)) end++;
  const marked = make("mark", {}, text(start, end));
  $("shown").replaceChildren(text(0, start), marked, text(end) + END);
  if (start < end) bring($("text"), marked);
}

/* What is pointed at is shown for as long as it is; what is picked, until something else is. */
function show(row, i) {
  for (const token of document.querySelectorAll(".active")) { token.classList.remove("active"); token.ariaSelected = false; }
  if (!row && $("told").children.length) $("told").textContent = HINT;
  if (!row) return mark(0, 0);
  const { data } = row, token = data.vocabulary[data.ids[i]];
  mark(data.starts[i], data.ends[i]);
  reveal(row, i);
  const active = drawn(row, i);
  active.classList.add("active");
  active.ariaSelected = true;
  row.box.setAttribute("aria-activedescendant", active.id);
  tell(row, i, token);
}

function tell(row, i, token) {
  const hex = token.bytes.map(byte => byte.toString(16).padStart(2, "0")).join(" ");
  const others = rows.filter(other => other !== row && other.first < other.end).map(other => `${other.name} ${other.end - other.first}`);
  $("told").replaceChildren(make("b", {}, token.piece), `: id ${token.id}, token ${count(i + 1)} of ${count(row.n)} of ${row.name}. ${plural(token.bytes.length, "byte")}: ${hex}.`,
    token.merges.length ? ` Merges: ${token.merges.map(pair => pair.join("+")).join(", ")}.` : "",
    others.length ? ` Tokens in the same place: ${others.join(", ")}.` : "");
}

function pick(row, i) { picked = row && { row, i }; show(row, i); }

/* Into a row, where it covers what is marked. */
function enter(row) {
  row.box.focus({ preventScroll: true });
  go(row, row.first < row.end ? row.first : 0);
}

function go(row, i) {
  pick(row, i);
  drawn(row, i).scrollIntoView({ block: "nearest" });
}

const tokenAt = event => event.target.closest("[role=option]");
$("rows").onpointerover = event => { const token = tokenAt(event); if (token && event.pointerType === "mouse") show(token.row, token.i); };
$("rows").onpointerleave = event => { if (event.pointerType === "mouse") show(picked?.row, picked?.i); };
$("rows").onclick = event => { const token = tokenAt(event); if (token) pick(token.row, token.i); };
$("rows").addEventListener("focusin", ({ target }) => { if (target.row && target.row !== picked?.row && target.matches(":focus-visible")) enter(target.row); });
$("rows").onkeydown = event => {
  const { row } = event.target, here = picked?.row === row ? picked.i : 0, filled = rows.filter(other => other.n);
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  const i = { ArrowLeft: Math.max(0, here - 1), ArrowRight: Math.min(row.n - 1, here + 1), Home: 0, End: row.n - 1 }[event.key];
  const other = filled[filled.indexOf(row) + ({ ArrowUp: -1, ArrowDown: 1 }[event.key] || NaN)];
  if (i !== undefined) go(row, i); else if (other) enter(other); else if (event.key === "Escape") pick(null); else return;
  event.preventDefault();
};

function start() {
  bytes = encoder.encode(D.text);
  $("size").textContent = `${plural([...D.text].length, "character")}, ${plural(bytes.length, "byte")} in UTF-8`;
  D.tokenizers.forEach((data, i) => fill(rows[i] ??= makeRow(data.name, i), data));
  pick(null);
}

/* Live: what is typed goes to the server that the page came from, and the rows follow to where it was typed. */
if (field) {
  let asked = 0, waiting;
  const byteAt = place => encoder.encode(field.value.slice(0, place)).length;
  const ask = async () => {
    const mine = ++asked;
    try {
      const data = await (await fetch("data", { method: "POST", body: JSON.stringify({ text: field.value }) })).json();
      if (mine !== asked) return;
      $("trouble").textContent = data.error || "";
      if (data.error) return;
      D = data;
      start();
      const caret = byteAt(field.selectionStart);
      for (const row of rows) if (row.n) reveal(row, Math.min(covering(row, caret - 1, caret)[0], row.n - 1));
    } catch { $("trouble").textContent = "minigpt does not answer; is it still running?"; }
  };
  field.value = D.text;
  field.oninput = () => { $("shown").replaceChildren(field.value + END); clearTimeout(waiting); waiting = setTimeout(ask, 30); };
  document.addEventListener("selectionchange", () => {
    if (document.activeElement !== field || field.value !== D.text) return;
    pick(null);
    mark(byteAt(field.selectionStart), byteAt(field.selectionEnd));
  });
  if (field.value !== D.text) ask();  // a field has no line ends but \n
}
start();
