/* A guided tour, in the order in which these things are taught: a light on one thing at a time, a question, its answer.
   It shows sentences that make its point; the reader's own comes back when she leaves. */

const [CAT, HER] = D.tour.sentences;
const best = numbers => numbers.indexOf(Math.max(...numbers));

const among = (right, ...others) => { const all = [...new Set([right, ...others])].slice(0, 4); return all.sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true })); };

const TOUR = [
  { at: "#model", text: CAT, title: "A model is layers of numbers", tell: () => "A layer takes some numbers, multiplies them by a matrix W, adds b, and bends the result: output = activation(W · x + b). All that a model has learned is in such matrices.",
    ask: "How many numbers has this model learned?", options: n => among(...[n, n / 100, 100 * n].map(x => Math.round(x).toLocaleString("en"))), right: () => parameters().toLocaleString("en"), of: () => parameters(), why: right => `${right} parameters; GPT-3 has 175,000,000,000. The table says where they are.` },
  { at: "#text", text: CAT, title: "Text becomes tokens", tell: () => `The model cannot read letters. “${D.prompt}” is cut into pieces that it knows.`,
    ask: "Into how many?", options: n => among(n, n + 2, D.prompt.length, 1), right: () => D.tokens.filter(token => token.bytes.length).length, of: () => D.tokens.filter(token => token.bytes.length).length, why: right => `${right}: ${D.tokens.filter(token => token.bytes.length).map(token => token.piece).join(" | ")}.${D.tokens[0].bytes.length ? "" : ` The mark ${D.tokens[0].piece} before them says that nothing came earlier.`}` },
  { at: "#token-table", text: CAT, title: "Encoding is a lookup", tell: () => "Each piece has a number in a list that never changes. With A = 1, B = 2 and so on …",
    ask: "… what is HI?", options: () => ["17", "8 9", "9 8"], right: () => "8 9", why: () => `8 9. This model's list is longer: ${D.tokens.at(-1).piece} is ${D.tokens.at(-1).id}.` },
  { at: "#tour-sides", text: CAT, title: "One sentence, several tokenizers", tell: () => "Others cut the same text otherwise. The fewer tokens, the more text fits into the model's view; the longer the list of pieces, the more rows its matrices need.", extra: sides,
    ask: "Which one has the longest list?", options: () => D.tour.sides.map(side => side.name), right: () => D.tour.sides[best(D.tour.sides.map(side => side.vocabulary))].name, why: right => `${right}: ${Math.max(...D.tour.sides.map(side => side.vocabulary)).toLocaleString("en")} pieces. ${D.tour.sides.map(side => `${side.name} has ${side.vocabulary.toLocaleString("en")}`).join(", ")}.`, only: () => D.tour.sides.length > 1 },
  { at: "#embedding-view", text: CAT, title: "A token becomes a vector", tell: () => "The id is written as a row of zeros with a single 1, and multiplied by the embedding matrix E.",
    ask: "What comes out?", options: () => ["one row of E", "the mean of all rows", "one column of E"], right: () => "one row of E", why: () => `Row ${D.tokens[state.token].id}, ${D.model.d_model} numbers: all others are multiplied by 0.` },
  { at: "#map", text: CAT, title: "Directions have meanings", tell: () => `Words that are used alike have vectors that point alike. So the way from “${$("b").value}” to “${$("a").value}”, walked from “${$("c").value}”, may lead to a word as well.`,
    ask: () => `What is nearest to ${$("a").value} − ${$("b").value} + ${$("c").value} in this model?`, options: () => among(...Array.from($("analogy").querySelectorAll(".chip"), chip => chip.firstChild.data.trim()).slice(0, 4)), right: () => $("analogy").querySelector(".chip").firstChild.data.trim(), why: right => `${right}. The arrows on the map are these two ways.`, only: () => known && $("analogy").querySelectorAll(".chip").length > 1 },
  { at: "#matrix", text: CAT, title: "The whole sentence at once", tell: () => "All tokens are read together: this picture has a row for each that looks, a column for each that is looked at. Half of it is empty.",
    only: () => CAT in D.tour.texts || $("prompt") || last() > 1,
    ask: () => `May ${D.tokens[1].piece} look at ${D.tokens.at(-1).piece}, which comes later?`, options: () => ["yes", "no"], right: () => "no", why: () => "No: while it learns to guess the next word, nobody may look ahead." },
  { at: "#qkv", text: CAT, title: "Query, key and value", tell: () => "Each token makes three vectors of its own: a query (what do I look for?), a key (what am I?) and a value (what do I have to say?).",
    ask: "Which two say how much one listens to another?", options: () => ["query and key", "query and value", "key and value"], right: () => "query and key", why: () => `Query · key, divided by √${D.model.d_head}, and made shares of 100% by softmax.` },
  { at: "#arcs-box", text: HER, title: () => word(state.token) === "her" ? "Who is meant?" : "Who is listened to?", pick: tellingPair, tell: () => `In “${D.prompt.trim()}” this head shows best how one token listens to another: layer ${state.layer + 1}, head ${state.head + 1}.`,
    ask: () => `At whom does “${word(state.token)}” look most here?`, options: right => among(right, ...D.tokens.slice(0, state.token + 1).map((_, i) => word(i)).reverse()), right: () => word(best(at(layer().weights, state.head, state.token))), of: () => word(best(at(layer().weights, state.head, state.token))), why: right => `${right}: ${percent(Math.max(...at(layer().weights, state.head, state.token)))} of its attention. Nobody told the model to: it learned that by guessing next words.` },
  { at: "#mixture", text: HER, title: "What is heard is a weighted sum", pick: tellingPair, tell: () => "The shares are multiplied by the values, and all is summed.",
    ask: "What do the shares of a row sum to?", options: () => ["0", "1", "the number of tokens"], right: () => "1", why: () => `1, or 100%. Here: ${$("mixture").textContent}` },
  { at: "#curve-box", text: HER, pick: tellingPair, title: "Then each token thinks by itself", tell: () => `h = W · z + b, and a curve f bends it: without it, all layers together would be a single matrix. Each dot is a neuron of “${word(state.token)}”.`,
    ask: "What does f make of −6?", options: () => ["−6", "nearly 0", "6"], right: () => "nearly 0", why: () => "Nearly 0: such a neuron says nothing. Those to the right are loud." },
  { at: "#example", text: HER, title: "All of it, by hand", tell: () => "“world” is e = [0.3, 0.4]. The first number of the next layer is 0.3 · 1 + 0.4 · 3 + 0.5 = 2.0.",
    ask: "And the second, with the column 2, 4 and the bias 0.5?", options: () => ["1.1", "2.2", "2.7"], right: () => "2.7", why: () => "0.3 · 2 + 0.4 · 4 + 0.5 = 2.7." },
  { at: "#chances", text: HER, title: "Logits, softmax, a word", tell: () => "The last vector, times each word's row, gives a logit: how well the word fits. Softmax makes them probabilities; divided by a high temperature first, they come closer together.",
    ask: "At temperature 2 the best word's probability is …", options: () => ["larger", "smaller", "the same"], right: () => "smaller", why: () => `Smaller: ${[1, 2].map(heat => percent(Math.max(...distribution(at(D.logits), heat, 0, 2).shares))).join(" becomes ")}, and the others get their chance. Move the slider.` },
  { at: "#continuation", veil: "#continuation, #way li:last-child", text: HER, title: "The word joins the text", tell: () => "And everything begins anew, for the word after that: this is all that a language model does.",
    ask: () => `What comes after “${D.prompt.trim()}”?`, options: right => among(right, ...D.switches.words.slice(1, 4).map(id => D.vocabulary[id])), right: () => D.vocabulary[D.switches.words[0]], of: () => D.vocabulary[D.switches.words[0]], why: right => `${right}, with ${percent(D.switches.before[0])}. Now switch off parts of your model, or watch it learn, further down.` },
];
const parameters = () => Number($("parameters").textContent.replaceAll(",", ""));

function sides() {
  return make("ul", { id: "tour-sides" }, ...D.tour.sides.map(side => make("li", {}, make("b", {}, side.name), ` ${side.pieces.length}: `, ...side.pieces.map(piece => make("span", { class: "chip" }, piece)))));
}

let own = null, stop = 0;
const steps = () => TOUR.filter(one => !one.only || one.only());

/* The sentence of a step, where this page has it or the server can read it; else the reader's own stays. */
async function show(text) {
  if (D.prompt === text) return;
  const data = D.tour.texts[text] ?? ($("prompt") ? await fetch("data", { method: "POST", body: JSON.stringify({ prompt: text, step: D.step, learning: false }) }).then(answer => answer.ok ? answer.json() : null) : null);
  if (data) take(data);
  if ($("prompt")) $("prompt").value = D.prompt;
}

async function visit(i) {
  const all = steps();
  stop = within(i, all.length - 1);
  const { at: place, text, title, tell, ask, options, right, of, why, extra, pick: pair, veil } = all[stop], told = x => typeof x === "function" ? x() : x;
  await show(text);
  if (pair) pick(pair());
  $("tour-title").textContent = told(title);
  $("tour-place").textContent = `${stop + 1} of ${all.length}`;
  $("tour-text").replaceChildren(tell(), ...(extra ? [extra()] : []));
  $("tour-ask").textContent = told(ask);
  const answer = right();
  $("tour-options").replaceChildren(...options(of ? of() : answer).map(option => {
    const button = make("button", {}, String(option));
    button.onclick = () => {
      for (const other of $("tour-options").children) other.setAttribute("aria-pressed", other === button);
      $("tour-answer").textContent = `${String(option) === String(answer) ? "Yes. " : "Not quite. "}${why(answer)}`;
      $("tour-answer").scrollIntoView({ block: "nearest" });
      unveil();
    };
    return button;
  }));
  $("tour-answer").textContent = "";
  $("tour-back").disabled = stop === 0;
  $("tour-next").textContent = stop === all.length - 1 ? "done" : "next →";
  unveil();
  if (veil) document.querySelectorAll(veil).forEach(one => one.classList.add("veiled"));
  document.querySelectorAll(".spot").forEach(old => old.classList.remove("spot"));
  const target = document.querySelector(place), box = target.closest("#tour") ? $("tour") : target;
  box.classList.add("spot");
  if (box !== $("tour")) { const { top, height } = box.getBoundingClientRect(), free = innerHeight - $("tour").offsetHeight - $("top").offsetHeight; scrollBy({ top: top - $("top").offsetHeight - Math.max(12, (free - height) / 2) }); }
  $("tour-title").focus({ preventScroll: true });
}

/* What would give an answer away is shown with it. */
const unveil = () => document.querySelectorAll(".veiled").forEach(one => one.classList.remove("veiled"));

function leave(done = false) {
  unveil();
  document.querySelectorAll(".spot").forEach(old => old.classList.remove("spot"));
  $("tour").hidden = true;
  const before = own;
  own = null;
  if (before) take(before);
  if ($("prompt")) $("prompt").value = D.prompt;
  if (done) $("what-if").scrollIntoView();
  (done && $("switches").querySelector("button") || $("tour-start")).focus({ preventScroll: done });
}

$("tour-start").onclick = () => { own = D; closeSum(); $("tour").hidden = false; visit(0); };
$("tour-leave").onclick = () => leave();
$("tour-back").onclick = () => visit(stop - 1);
$("tour-next").onclick = () => stop === steps().length - 1 ? leave(true) : visit(stop + 1);
document.addEventListener("keydown", event => {
  if ($("tour").hidden || event.target.closest("input, select, textarea, canvas, #tokens, .scroll")) return;
  if (event.key === "Escape") leave();
  step(event, { ArrowLeft: -1, ArrowRight: 1 }, move => { if (stop + move < steps().length) visit(stop + move); });
});
