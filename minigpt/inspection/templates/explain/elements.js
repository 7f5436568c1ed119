/* Elements: text is always set as text, never as markup. */

function make(name, attributes = {}, ...children) {
  const svg = ["path", "text", "circle", "title", "line"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* Numbers as cells of colour, one pixel each, in rows of `columns`. */
function paint(canvas, numbers, columns, largest) {
  canvas.width = columns;
  canvas.height = Math.ceil(numbers.length / columns);
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height);
  numbers.forEach((x, i) => image.data.set([...(x < 0 ? palette.minus : palette.plus), 255 * Math.min(1, Math.abs(x) / largest || 0)], 4 * i));
  pen.putImageData(image, 0, 0);
  return canvas;
}

const wide = matchMedia("(min-width: 40rem)");

/* A vector as cells, which arrow keys read one by one, and its numbers for those who want to read them all.
   `place` says which vector of the way it is: a cell then opens the sum that made it (sums.js). */
function strip(name, vector, place = null, label = i => i) {
  const extreme = vector.reduce((most, x) => Math.abs(x) > Math.abs(most) ? x : most, 0), end = vector.length - 1, columns = wide.matches ? 64 : 32;
  const cells = paint(make("canvas", { class: "cells reads", role: "slider", tabindex: 0, "aria-label": name, "aria-valuemin": 0, "aria-valuemax": end }), vector, columns, Math.abs(extreme));
  cells.style.height = `${1.5 * cells.height}rem`;
  let here = 0;
  const tell = i => `${label(i)}: ${number(vector[i])}`;
  const go = i => { here = within(i, end); cells.setAttribute("aria-valuenow", here); cells.setAttribute("aria-valuetext", tell(here)); };
  const find = event => Math.floor(event.offsetX / cells.clientWidth * columns) + columns * Math.floor(event.offsetY / cells.clientHeight * cells.height);
  const show = () => { const box = cells.getBoundingClientRect(); tip(tell(here), box.left + (here % columns + 0.5) * box.width / columns, box.top + Math.floor(here / columns) * box.height / cells.height); };
  const open = () => { if (place) openSum({ ...place, i: here }); };
  go(0);
  cells.readAt = event => { const i = find(event); return i >= 0 && i <= end ? tell(i) : ""; };
  cells.onclick = event => { const i = find(event); if (i >= 0 && i <= end) { go(i); show(); open(); } };
  cells.onkeydown = event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
    step(event, { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -here, End: end - here, PageUp: -10, PageDown: 10 }, move => { go(here + move); show(); });
  };
  cells.onblur = () => tip("");
  const numbers = make("details", {}, make("summary", {}, "numbers"), make("p", {}, Array.from(vector, number).join("  ")));
  return make("div", { class: "strip", "data-name": name }, make("span", {}, name, make("span", {}, `${vector.length} numbers, largest ${number(extreme)}`)), cells, numbers);
}

/* A button that has the panel tell the sum behind a number, and one that is the number. */
function opens(place, words, attributes = {}) {
  const button = make("button", attributes, words);
  button.onclick = () => openSum(place);
  return button;
}
const figure = (place, words) => opens(place, words, { class: "number", "aria-label": `${words}: ${title(place)}` });

/* New strips in the place of old ones; numbers that were unfolded stay so. */
function strips(id, ...all) {
  const open = Array.from($(id).querySelectorAll("details"), one => one.open);
  $(id).replaceChildren(...all);
  $(id).querySelectorAll("details").forEach((one, i) => { one.open = open[i]; });
}

/* A word with a small figure behind it. */
const chip = (text, figure, ...more) => make("span", { class: "chip" }, text + " ", make("small", {}, figure), ...more);

function chips(element, guesses) {
  element.replaceChildren(...guesses.map(([token, share]) => chip(D.vocabulary[token], percent(share))));
}

/* A bar to the right of the middle, or of what is negative to the left. */
function sideBar(x, largest, kind = "") {
  const side = 50 * Math.abs(x) / (largest || 1);
  return make("div", { class: `bar ${kind}${x < 0 ? " minus" : ""}`, style: `width:${side}%;margin-left:${x < 0 ? 50 - side : 50}%` });
}

/* What is under the pointer, or where the keys have gone, in a word beside it. */
const reading = make("div", { id: "reading", hidden: "" });
document.body.append(reading);
function tip(text, x, y) {
  reading.hidden = !text;
  if (!text) return;
  reading.textContent = text;
  reading.style.left = within(x + 12, innerWidth - reading.offsetWidth - 8) + "px";
  reading.style.top = Math.max(0, y - 34) + "px";
}
["pointermove", "pointerdown"].forEach(kind => document.addEventListener(kind, event => tip(event.target.closest?.(".reads")?.readAt(event), event.clientX, event.clientY)));
document.addEventListener("scroll", () => tip(""), { passive: true });
document.addEventListener("keydown", event => { if (event.key === "Escape") tip(""); });

/* Arrow keys that move by so much: in a table, by rows and columns. */
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function step(event, moves, apply) {
  const move = moves[event.key];
  if (move !== undefined && !event.altKey && !event.ctrlKey && !event.metaKey) { event.preventDefault(); apply(move); }
}

const last = () => D.tokens.length - 1, within = (x, most) => Math.max(0, Math.min(most, x));
