/* The panel: one sum, whose inputs open theirs. */

const trail = [], LARGEST = 10;
let opener = null;

async function openSum(place, back = false) {
  if ($("sum").hidden) { opener = document.activeElement; trail.length = 0; }
  if (!back) trail.push(place);
  const { text, terms, result } = await QUANTITIES[place.what].made(place), size = term => term.size ?? Math.abs(term.x * term.w);
  const sorted = [...terms].sort((a, b) => size(b) - size(a)), some = sorted.slice(0, LARGEST), rest = sorted.slice(LARGEST);
  const cell = term => term.from ? opens(term.from, `${title(term.from)} = ${number(term.x)}`) : `${term.name} = ${number(term.x)}`;
  const rows = some.map(term => make("tr", {}, make("td", {}, cell(term)), make("td", {}, term.shown !== undefined ? "" : term.other ? opens(term.other, `× ${number(term.w)}`) : `× ${number(term.w)}`), make("td", {}, term.shown ?? number(term.x * term.w))));
  if (rest.length) rows.push(make("tr", {}, make("td", {}, `${rest.length} more`), make("td", {}), make("td", {}, rest[0].shown !== undefined ? "" : number(total(rest.map(term => term.x * term.w))))));
  const also = (QUANTITIES[place.what].also?.(place) ?? []).map(from => make("tr", {}, make("td", {}, opens(from, `${title(from)} = ${number(valueOf(from))}`)), make("td", {}), make("td", {})));
  $("sum-title").textContent = title(place);
  $("sum-text").textContent = text;
  $("sum-terms").tBodies[0].replaceChildren(...rows, ...also, make("tr", {}, make("th", { scope: "row" }, title(place)), make("td", {}, "="), make("td", {}, make("b", {}, result ?? number(valueOf(place))))));
  $("sum-back").disabled = trail.length < 2;
  $("sum").hidden = false;
  $("sum-title").focus();
}

function closeSum() {
  $("sum").hidden = true;
  if (opener?.isConnected) opener.focus({ preventScroll: true });
}

$("sum-close").onclick = closeSum;
$("sum-back").onclick = () => { trail.pop(); openSum(trail.at(-1), true); };
document.addEventListener("keydown", event => { if (event.key === "Escape" && !$("sum").hidden) { event.stopImmediatePropagation(); closeSum(); } });
