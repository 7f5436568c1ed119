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
  $("origin-bars").replaceChildren(...parts.map(([part, row]) =>
    make("li", {}, make("span", {}, part), make("div", {}, sideBar(value(row), largest)), make("span", {}, value(row).toFixed(2)))));
}
