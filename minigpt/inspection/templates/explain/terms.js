/* Why a head looks where it looks: a score as a sum over pairs of dimensions, in what content gives and what position does. */
const STRONGEST = 8, cents = x => x.toFixed(2).replace(/^-(0\.00)$/, "$1");

/* Rotary positions turn each pair (i, i + d/2), the more the further two tokens are apart: content is what the pair would
   give unturned, position what turning it changes. Learned positions are within the vectors: there are only products. */
function scoreTerms({ layer, head, token, key }) {
  const query = what => values({ what, layer, head, token }), label = what => values({ what, layer, head, token: key });
  const half = D.model.d_head / 2, root = Math.sqrt(D.model.d_head);
  const placed = query("placed_query").map((x, i) => x * label("placed_key")[i] / root);
  if (D.model.position !== "rope") return Array.from(placed, (content, i) => ({ name: `dimension ${i}`, content, position: 0 }));
  const unturned = query(headInput("query")).map((x, i) => x * label(headInput("key"))[i] / root);
  return Array.from({ length: half }, (_, i) => {
    const content = unturned[i] + unturned[i + half], turn = 2 * Math.PI * D.model.rope_theta ** (i / half);
    return { name: `pair ${i + 1}, a whole turn in ${turn < 10 ? turn.toFixed(1) : Math.round(turn).toLocaleString("en")} tokens`, content, position: placed[i] + placed[i + half] - content };
  });
}

function drawTerms() {
  const terms = scoreTerms(state).sort((a, b) => Math.abs(b.content) + Math.abs(b.position) - Math.abs(a.content) - Math.abs(a.position)), rope = D.model.position === "rope";
  const sum = (some, kind) => total(some.map(term => term[kind])), rest = terms.slice(STRONGEST);
  const shown = [...terms.slice(0, STRONGEST), ...(rest.length ? [{ name: `the other ${rest.length} together`, content: sum(rest, "content"), position: sum(rest, "position"), several: true }] : [])];
  const largest = Math.max(...terms.flatMap(term => [Math.abs(term.content), Math.abs(term.position)])), apart = state.token - state.key;
  const said = make("p", { id: "terms-sum" }, ...(rope ? ["Content gives ", make("b", {}, cents(sum(terms, "content"))), ": the score if both stood at the same place. Position gives ", make("b", {}, cents(sum(terms, "position"))),
    apart ? `: what it changes that they are ${apart} token${apart > 1 ? "s" : ""} apart, as each pair of dimensions is turned by that many steps.` : ": they are at the same place."]
    : ["Positions are learned here and within the vectors from the beginning, so that no part of the score is theirs alone. The largest products:"]));
  const kinds = rope ? ["content", "position"] : ["content"];
  $("terms").replaceChildren(said, make("ol", { class: "terms" }, ...shown.map(term => make("li", {}, make("span", {}, term.name),
    make("div", {}, ...(term.several ? [] : kinds.map(kind => sideBar(term[kind], largest, kind)))), make("span", {}, ...kinds.map(kind => make("span", {}, `${kind} ${cents(term[kind])}`)))))));
}
