/* Parts that are off, or do what they do on average, and what the next word then is. */
const MEAN = "=mean";
state.instead = [...state.off].some(name => name.endsWith(MEAN)) ? MEAN : "";

/* What comes of what is off; nothing where all parts are at work. */
const switched = () => D.switches.without[[...state.off].join("+")];

function drawSwitches() {
  const { part } = document.activeElement.dataset;  // keeps the focus
  const { words, before, without, mean } = D.switches, now = switched();
  const single = Object.keys(without).filter(name => !/[+=]/.test(name)), live = $("prompt");
  $("what-if").hidden = !Object.keys(without).length;
  $("instead").hidden = !(live ? mean : without["1" + MEAN]);
  if ($("instead").hidden) state.instead = "";
  $("mean-of").textContent = mean;
  $("single-neurons").hidden = !single.some(name => /neuron\d/.test(name));
  for (const choice of $("instead").querySelectorAll("input")) choice.checked = choice.value === state.instead;
  const button = name => {
    const { label } = without[name], all = name.includes(".") ? "" : "all of ";
    const one = make("button", { "aria-pressed": [name, name + MEAN].some(one => state.off.has(one)), "aria-label": `without ${all}${label}`, "data-part": name }, all + (all ? label : label.split(", ")[1]));
    one.onclick = () => toggle(name);
    return make("td", {}, one);
  };
  const rows = D.layers.map((_, i) => single.filter(name => parseInt(name) === i + 1)).filter(names => names.length);
  $("switches").tBodies[0].replaceChildren(...rows.map(names => make("tr", {}, make("th", { scope: "row" }, `layer ${parseInt(names[0])}`), ...names.filter(name => name.includes(".")).map(button), button(`${parseInt(names[0])}`))));
  const after = new Map(now ? [...now.guesses, ...words.map((word, i) => [word, now.shares[i]])] : words.map((word, i) => [word, before[i]]));
  const share = word => words.includes(word) ? before[words.indexOf(word)] : null;
  const told = word => share(word) === null ? "less" : percent(share(word));
  $("what-if-sum").textContent = now ? `P(${D.vocabulary[words[0]]}) ${told(words[0])} → ${percent(after.get(words[0]))} without ${now.label}` : "Nothing is off.";
  const shown = [...after].filter(([word, x]) => Math.max(x, share(word)) >= 0.0005).sort((a, b) => b[1] - a[1]);
  $("what-if-words").replaceChildren(...shown.map(([word, x]) => make("li", {}, make("span", {}, D.vocabulary[word]),
    make("div", {}, make("div", { class: "bar", style: `width:${100 * x}%` }), make("div", { class: "bar was", style: `width:${100 * (share(word) || 0)}%` })), make("span", {}, now ? `${told(word)} → ${percent(x)}` : percent(x)))));
  $("what-if-key").hidden = !now;
  drawWay();
  markStation();
  if (part) $("switches").querySelector(`[data-part="${part}"]`)?.focus({ preventScroll: true });
}

function toggle(part) {
  const off = new Set($("prompt") ? state.off : []), was = [part, part + MEAN].some(name => state.off.has(name));
  off.delete(part);
  off.delete(part + MEAN);
  if (!was) off.add(part + state.instead);
  switchTo(off);
}

/* What is not in the page is asked for where there is a server; else all parts are on again. */
function switchTo(off) {
  const known = !off.size || D.switches.without[[...off].join("+")];
  state.off = known || $("prompt") ? off : new Set();
  if (!known && $("prompt")) return ask();
  drawSwitches();
}

$("instead").onchange = event => {
  state.instead = event.target.value;
  switchTo(new Set([...state.off].map(name => name.replace(MEAN, "") + state.instead)));
};
