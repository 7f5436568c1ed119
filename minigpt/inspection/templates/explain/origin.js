/* The parts of a word's logit, or of how far it is above another's. */
function drawOrigin() {
  const { words, logits, parts } = D.attribution, name = i => D.vocabulary[words[i]];
  const options = words.map((_, i) => make("option", { value: i }, name(i)));
  const [word, other] = [$("for"), $("against")].map(select => Math.min(Number(select.value), words.length - 1));  // -1: nothing
  $("for").replaceChildren(...options);
  $("against").replaceChildren($("against").firstElementChild, ...options.map(option => option.cloneNode(true)));
  $("for").value = word; $("against").value = other;
  const value = row => row[word] - (other < 0 ? 0 : row[other]), largest = Math.max(...parts.map(([, row]) => Math.abs(value(row))));
  $("origin-sum").replaceChildren(other < 0 ? `The logit of ${name(word)} is ` : `The logit of ${name(word)} is above that of ${name(other)} by `, make("b", {}, value(logits).toFixed(2)), ":");
  $("origin-bars").replaceChildren(...parts.map(([part, row]) => {
    const x = value(row), side = 50 * Math.abs(x) / (largest || 1);
    return make("li", {}, make("span", {}, part), make("div", {}, make("div", { class: "bar" + (x < 0 ? " minus" : ""), style: `width:${side}%;margin-left:${x < 0 ? 50 - side : 50}%` })), make("span", {}, x.toFixed(2)));
  }));
}
