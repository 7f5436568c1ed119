/* Every number opens its sum: what made it, product by product, back to the embedding.
   A place names a number: what vector of the way, of which layer, head and token, and its index i in it. */

const block = p => D.layers[p.layer], weightOf = (p, name) => `blocks.${p.layer}.${name}.weight`;
const values = p => QUANTITIES[p.what].numbers(p), valueOf = p => values(p)[p.i];
const gains = name => D.weights[name] ? unpack(D.weights[name]).numbers : null;

/* A row of a matrix, from the page or from the server; null where neither has it. */
async function weightRow(name, row) {
  if (D.weights[name]) return at(D.weights[name], row);
  if (name === "token_embedding.weight" && embeddingRow(row)) return embeddingRow(row);
  if (!$("prompt")) return null;
  const answer = await fetch(`row/${name}/${row}`);
  return answer.ok ? answer.json() : null;
}

/* The ways in which numbers are made: a sentence, and terms of which each is x · w and may come from a place. */

async function linear(name, row, inputs, text) {
  const w = await weightRow(name, row), bias = gains(name.replace("weight", "bias"));
  if (!w) return { text: `${text} The matrix is too large for a page; minigpt explain --serve shows its rows.`, terms: [] };
  const terms = inputs.map((from, j) => ({ from, x: valueOf(from), w: w[j] }));
  return { text, terms: bias ? [...terms, { name: "bias", x: bias[row], w: 1 }] : terms };
}

const each = p => Array.from(values(p), (_, i) => ({ ...p, i }));

function norm(p, input, name, kind = D.model.norm) {
  const x = values(input), mean = kind === "layernorm" ? total(x) / x.length : 0, gain = gains(name)[p.i], bias = gains(name.replace("weight", "bias"));
  const scale = Math.sqrt(x.reduce((sum, one) => sum + (one - mean) ** 2, 0) / x.length + D.model.norm_epsilon);
  const terms = [{ from: { ...input, i: p.i }, x: x[p.i], w: gain / scale }];
  if (mean) terms.push({ name: "mean", x: mean, w: -gain / scale });
  if (bias) terms.push({ name: "bias", x: bias[p.i], w: 1 });
  return { text: `The number before, divided by the vector's scale ${number(scale)} (${mean ? "its standard deviation" : "the root of its mean square"}) and times the learned gain ${number(gain)}.`, terms };
}

const sumOf = (text, ...terms) => ({ text, terms: terms.map(([from, w = 1, other]) => ({ from, x: valueOf(from), w, other })) });

/* Pairs of numbers (i, i + K/2) are turned together, each by an angle that grows with the position. */
function placed(p, input) {
  if (D.model.position !== "rope") return sumOf("The same number.", [{ ...input, i: p.i }]);
  const half = D.model.d_head / 2, angle = p.token * D.model.rope_theta ** (-(p.i % half) / half), first = p.i < half;
  return sumOf(`Pair ${p.i % half + 1} of ${half}, turned by ${p.token} × ${(angle / (p.token || 1)).toPrecision(3)} = ${number(angle)} radians.`,
    [{ ...input, i: p.i }, Math.cos(angle)], [{ ...input, i: first ? p.i + half : p.i - half }, first ? -Math.sin(angle) : Math.sin(angle)]);
}

function softmax(p, whole, others) {
  const scores = others.map(valueOf), most = Math.max(...scores);
  const powers = scores.map(x => Math.exp(x - most)), sum = total(powers);
  return { text: `${whole}: each score's e^score, as a share of the sum of all.`, terms: others.map((from, i) => ({ from, x: scores[i], shown: percent(powers[i] / sum), size: powers[i] })), result: percent(valueOf(p)) };
}

function score(p) {
  const query = { what: "placed_query", layer: p.layer, head: p.head, token: p.token }, key = { ...query, what: "placed_key", token: p.i };
  const root = Math.sqrt(D.model.d_head), label = values(key);
  return { text: `Query times key, number by number, divided by √${D.model.d_head} = ${number(root)}.`, terms: each(query).map((from, j) => ({ from, x: valueOf(from), w: label[j] / root, other: { ...key, i: j } })) };
}

const upTo = (p, what) => Array.from({ length: p.token + 1 }, (_, i) => ({ ...p, what, i }));
const before = p => ({ ...p, what: p.layer ? "leaving" : "entering", layer: Math.max(0, p.layer - 1) });
const of = key => p => at(block(p)[key], p.token), ofHead = key => p => at(block(p)[key], p.head, p.token), ofGroup = key => p => at(block(p)[key], groupOf(p.head), p.token);
const project = (name, grouped) => p => linear(weightOf(p, `attention.${name}`), (grouped ? groupOf(p.head) : p.head) * D.model.d_head + p.i, each({ ...p, what: "attention_input" }), `A row times a column: the token's vector, normalised, times one column of W.`);
const into = name => p => linear(weightOf(p, `feed_forward.${name}`), p.i, each({ ...p, what: "feed_forward_input" }), `The vector, normalised, times one column of the neurons' W.`);
const normedHead = (what, name) => ({ name: `${what}, normalised`, numbers: p => { const x = values({ ...p, what }), gain = gains(weightOf(p, `attention.${name}`)), scale = Math.sqrt(dot(x, x) / x.length + D.model.norm_epsilon); return x.map((one, i) => one / scale * gain[i]); },
  made: p => norm(p, { ...p, what }, weightOf(p, `attention.${name}`), "rmsnorm") });
const headInput = what => D.model.qk_norm ? `normed_${what}` : what;
const silu = x => x / (1 + Math.exp(-x)), phi = x => 0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

const QUANTITIES = {
  embedding: { name: "embedding", numbers: p => at(D.embedding, p.token), made: p => ({ text: `One-hot row times the embedding matrix: column ${p.i}, in which only row ${D.tokens[p.token].id} meets the 1. It was learned.`, terms: [{ name: `row ${D.tokens[p.token].id}`, x: 1, w: valueOf(p) }, { name: "all other rows", x: 0, w: 0 }] }) },
  position: { name: "position", numbers: p => at(D.position, p.token), made: p => ({ text: `Row ${p.token} of the positions' matrix. It was learned.`, terms: [] }) },
  entering: { name: "what enters the first layer", numbers: p => at(D.entering, p.token), made: p => sumOf(D.scale === 1 ? "What is looked up." : `The embedding times ${number(D.scale)}, the same for all tokens.`, [{ ...p, what: "embedding" }, D.scale], ...(D.position ? [[{ ...p, what: "position" }]] : [])) },
  attention_input: { name: "input z of attention", numbers: of("attention_input"), made: p => norm(p, before(p), weightOf(p, "attention_norm")) },
  query: { name: "query", numbers: ofHead("query"), made: project("q_proj") },
  key: { name: "key", numbers: ofGroup("key"), made: project("k_proj", true) },
  value: { name: "value", numbers: ofGroup("value"), made: project("v_proj", true) },
  normed_query: normedHead("query", "q_norm"),
  normed_key: normedHead("key", "k_norm"),
  placed_query: { name: "query, at its position", numbers: ofHead("placed_query"), made: p => placed(p, { ...p, what: headInput("query") }) },
  placed_key: { name: "key, at its position", numbers: ofGroup("placed_key"), made: p => placed(p, { ...p, what: headInput("key") }) },
  product: { name: "query times key", numbers: p => { const key = values({ ...p, what: "placed_key", token: p.key }); return values({ ...p, what: "placed_query" }).map((x, i) => x * key[i]); }, made: p => { const key = { ...p, what: "placed_key", token: p.key }; return sumOf(`For ${D.tokens[p.key].piece}.`, [{ ...p, what: "placed_query" }, valueOf(key), key]); } },
  score: { name: "score", numbers: p => Array.from({ length: p.token + 1 }, (_, i) => dot(values({ ...p, what: "placed_query" }), values({ ...p, what: "placed_key", token: i })) / Math.sqrt(D.model.d_head)), made: score, index: i => `for ${D.tokens[i].piece}` },
  weight: { name: "attention weight", numbers: p => ofHead("weights")(p).subarray(0, p.token + 1), made: p => softmax(p, "Softmax over all tokens that may be seen", upTo(p, "score")), index: i => `for ${D.tokens[i].piece}` },
  mixed: { name: "weighted sum of values", numbers: ofHead("mixed"), made: p => { const weights = ofHead("weights")(p); return sumOf("The same number of every value, times how much its token is looked at.", ...D.tokens.slice(0, p.token + 1).map((_, token) => [{ ...p, what: "value", token }, weights[token], { ...p, what: "weight", i: token }])); } },
  attention_output: { name: "output of attention", numbers: of("attention_output"), made: p => linear(weightOf(p, "attention.o_proj"), p.i, Array.from({ length: D.model.n_heads }, (_, head) => each({ ...p, what: "mixed", head })).flat(), "What all heads have gathered, times one column of the output projection.") },
  between: { name: "vector after attention", numbers: of("between"), made: p => sumOf("What came in, and what attention adds.", [before(p)], [{ ...p, what: "attention_output" }]) },
  feed_forward_input: { name: "input z of the neurons", numbers: of("feed_forward_input"), made: p => norm(p, { ...p, what: "between" }, weightOf(p, "feed_forward_norm")) },
  gate: { name: "gate", numbers: of("gate"), made: into("gate_proj") },
  up: { name: "h", numbers: of("up"), made: into("up_proj") },
  hidden: { name: "neuron", index: i => i, numbers: of("hidden"), made: p => !block(p).gate ? sumOf("gelu(h) = h · Φ(h), Φ being the share of a bell curve below h.", [{ ...p, what: "up" }, phi(valueOf({ ...p, what: "up" }))])
    : sumOf(`silu(gate) · h, where silu(g) = g / (1 + e⁻ᵍ) and the gate is ${number(valueOf({ ...p, what: "gate" }))}.`, [{ ...p, what: "up" }, silu(valueOf({ ...p, what: "gate" }))]), also: p => block(p).gate ? [{ ...p, what: "gate" }] : [] },
  feed_forward_output: { name: "output of the neurons", numbers: of("feed_forward_output"), made: p => linear(weightOf(p, "feed_forward.down_proj"), p.i, each({ ...p, what: "hidden" }), "All neurons, times one column of the matrix out of them.") },
  leaving: { name: "vector after the layer", numbers: of("leaving"), made: p => sumOf("What attention left, and what the neurons add.", [{ ...p, what: "between" }], [{ ...p, what: "feed_forward_output" }]) },
  normed: { name: "vector at the end, normalised", numbers: () => at(D.normed), made: p => norm(p, { ...p, what: "leaving", layer: D.model.n_layers - 1 }, "final_norm.weight") },
  logit: { name: "logit", numbers: () => at(D.logits), made: p => linear(D.model.tie_embeddings ? "token_embedding.weight" : "lm_head.weight", p.i, each({ what: "normed", token: last() }), "The vector at the end, times the word's column of the output matrix" + (D.model.tie_embeddings ? ", which is its row of the embedding matrix." : ".")), index: i => `of ${D.vocabulary[i]}` },
};
const PER_HEAD = new Set(["product", "query", "key", "value", "normed_query", "normed_key", "placed_query", "placed_key", "score", "weight", "mixed"]);

function title(p) {
  const way = QUANTITIES[p.what], where = [...("layer" in p && p.what !== "entering" && p.what !== "embedding" && p.what !== "position" ? [`layer ${p.layer + 1}`] : []), ...(PER_HEAD.has(p.what) ? [`head ${p.head + 1}`] : [])];
  return `${way.name}${way.index ? " " + way.index(p.i) : `, number ${p.i},`}${p.what === "logit" ? "" : ` at ${D.tokens[p.token].piece}`}${where.length ? ` (${where.join(", ")})` : ""}`;
}
