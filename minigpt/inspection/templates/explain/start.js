/* What is looked at, and how that changes. */

function drawToken() {
  drawControls(); drawTokens(); drawVectors(); drawHeads(); drawArcs(); drawAttention(); drawNeurons(); drawHabits(); drawLens(); drawTraining(); markStation();
}

function pick(change) {
  const where = document.activeElement && document.activeElement.closest("#tokens, #heads, #distribution");
  Object.assign(state, change);
  state.key = Math.min(state.key, state.token);
  if ("candidate" in change) drawNext(); else if ("update" in change) drawLearning(); else if ("stage" in change) drawTraining(); else drawToken();
  const again = where && where.querySelector("[aria-checked=true], [aria-pressed=true]");
  if (again) again.focus({ preventScroll: true });
}

/* Picks a token, and of those that it looks at the one that it looks at most. */
function look(token) {
  const weights = at(layer().weights, state.head, token);
  pick({ token, key: weights.indexOf(Math.max(...weights)) });
}

/* Keys: arrows move among the tokens. */
$("tokens").onkeydown = event => step(event, { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }, move => look(within(state.token + move, last())));
$("layer").onchange = event => toLayer(Number(event.target.value));
$("head").onchange = event => { state.head = Number(event.target.value); look(state.token); };
$("rate").oninput = event => pick({ update: Number(event.target.value) });
$("stage").oninput = event => pick({ stage: Number(event.target.value) });
["for", "against"].forEach(id => { $(id).onchange = drawOrigin; });
["temperature", "top-k", "top-p"].forEach(id => { $(id).oninput = drawNext; });
$("temperature").value = 1;
$("top-k").value = D.sampling.top_k || 0;
$("top-p").value = D.sampling.top_p || 1;

["a", "b", "c", "others"].forEach(id => { $(id).oninput = drawAnalogy; });
$("words").append(...D.map.tokens.map(token => make("option", { value: D.vocabulary[token].replace(/^·/, "") })));
const known = ["king", "man", "woman"].every(word => D.vocabulary.includes("·" + word));
["king", "man", "woman"].forEach((word, i) => { $(["a", "b", "c"][i]).value = known ? word : D.vocabulary[D.map.tokens[i % D.map.tokens.length]].replace(/^·/, ""); });

function read(pending = false, place = null) { place ? pick(place) : look(state.token); drawNext(); drawOrigin(); drawSwitches(); drawBeside(); drawLearning(pending); listChapters(); findChapter(); }

function start(place = null) { readPalette(); drawMap(); drawAnalogy(); read(false, place); }

/* Other numbers: of another text, or of newer weights as well. The step of learning on it may be yet to come. */
function take(data, pending = false) {
  D = { ...D, ...data };
  $("step").textContent = D.step.toLocaleString("en");
  Object.assign(state, { token: last(), candidate: 0, update: 0, stage: D.stages.length - 1 });
  if (data.map) start(); else read(pending);
}

start(tellingPair());
history.replaceState({ layer: state.layer }, "");
[wide, matchMedia("(prefers-color-scheme: dark)"), matchMedia("(forced-colors: active)")].forEach(media => { media.onchange = () => { $("heads").shown = null; start(); }; });
