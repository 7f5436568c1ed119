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
