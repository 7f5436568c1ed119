/* What heads and neurons usually do, on text that the model did not learn from. */

/* A rule is a head's habit at such a share of places, so many times that of chance. The one that contains all others counts where none of them does. */
const HOLDS = [[0.5, 1.5], [0.1, 2.5]], MOST = 3, WIDEST = "its own document";

function drawHabits() {
  const table = $("habit-table"), heads = D.habits ? D.habits.heads.flat() : [];
  if (table.shown !== D.habits) {
    table.shown = D.habits;
    $("habits-of").textContent = D.habits ? `Measured on ${D.habits.tokens.toLocaleString("en")} tokens of the validation text${D.habits.step === D.step ? "" : `, at step ${D.habits.step.toLocaleString("en")}`}; “by chance” is what looking at all tokens alike would give.`
      : "This run keeps none: they are found out at the end of training, or where its text is at hand by minigpt explain --habits.";
    table.hidden = !D.habits;
    table.tBodies[0].replaceChildren(...heads.map(habitRow));
  }
  table.querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", i === state.layer * D.model.n_heads + state.head));
}

function habitRow({ habits, pairs }, i) {
  const n = D.model.n_heads, head = { layer: Math.floor(i / n), head: i % n };
  const button = make("button", {}, `layer ${head.layer + 1}, head ${head.head + 1}`);
  button.onclick = () => { Object.assign(state, head); look(state.token); };
  const above = one => one.share / one.chance, all = habits.filter(one => HOLDS.some(([least, times]) => one.share >= least && above(one) >= times)).sort((a, b) => above(b) - above(a));
  const narrow = all.filter(one => one.rule !== WIDEST), held = (narrow.length ? narrow : all).slice(0, MOST);
  const habit = one => make("div", {}, make("span", { class: "chip" }, one.rule), ` ${percent(one.share)} `, make("small", {}, `of ${one.places.toLocaleString("en")} places; by chance ${percent(one.chance)}; mean weight ${percent(one.weight)}`));
  const none = habits[0] ? ["no single rule; most often:", habit(habits[0])] : ["too short a text"];
  return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, ...(held.length ? held.map(habit) : none)),
    make("td", {}, ...pairs.map(([from, to, share, places]) => make("div", {}, make("span", { class: "chip" }, `${from} → ${to}`), ` ${percent(share)} `, make("small", {}, `of ${places.toLocaleString("en")}`)))));
}

/* Where the text has what makes a neuron fire most. */
function firings(neuron) {
  const found = D.habits?.neurons[state.layer][neuron] ?? [], read = text => text.replaceAll("·", " ");
  return found.map(([before, token, after, value]) => make("li", {}, make("small", {}, `${number(value)} `), read(before), make("mark", {}, read(token)), read(after)));
}
