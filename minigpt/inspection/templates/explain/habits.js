/* What heads and neurons usually do, on text that the model did not learn from. */

const HOLDS = 0.5;  // the share of places from which on a rule is a head's habit

function drawHabits() {
  $("habits").hidden = !D.habits;
  if (!D.habits) return;
  const { heads, tokens, step } = D.habits;
  $("habits-of").textContent = `${tokens.toLocaleString("en")} tokens of the validation text${step === D.step ? "" : `, read at step ${step.toLocaleString("en")}`}`;
  $("habit-table").tBodies[0].replaceChildren(...heads.flatMap((all, i) => all.map(({ habits, pairs }, j) => {
    const button = make("button", { "aria-pressed": i === state.layer && j === state.head }, `layer ${i + 1}, head ${j + 1}`);
    button.onclick = () => { Object.assign(state, { layer: i, head: j }); look(state.token); };
    const shown = habits.filter(one => one.share >= HOLDS && one.share >= 1.5 * one.chance);
    const chip = one => make("span", { class: "chip", title: `at ${one.places.toLocaleString("en")} places; mean weight ${percent(one.weight)}; by chance ${percent(one.chance)}` }, one.rule + " ", make("small", {}, `${percent(one.share)} of ${one.places.toLocaleString("en")} places`));
    const best = habits[0] ? `no single rule (${habits[0].rule}: ${percent(habits[0].share)})` : "too short a text";
    return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, ...(shown.length ? shown.map(chip) : [best])),
      make("td", {}, ...pairs.map(([from, to, share, places]) => make("span", { class: "chip", title: `${places.toLocaleString("en")} places` }, `${from} → ${to} `, make("small", {}, percent(share))))));
  })));
}

/* Where the text has what makes a neuron fire most. */
function firings(neuron) {
  const found = D.habits?.neurons[state.layer][neuron] ?? [];
  return found.map(([before, token, after, value]) => make("li", {}, make("small", {}, `${number(value)} `), before, make("mark", {}, token), after));
}
