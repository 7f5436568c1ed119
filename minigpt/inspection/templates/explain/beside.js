/* A second text beside the first: what a part did there is put in its place here, and the next word follows. */
function drawBeside() {
  const { beside } = D;
  $("carried-over").hidden = !beside;
  if (!beside) return;
  const odds = ([one, other]) => Math.log(one / other), { words, here, parts, columns } = beside;
  const moves = beside.carried.map(row => row.map(shares => odds(shares) - odds(here))), [one, other] = words.map(word => D.vocabulary[word]);
  const told = shares => words.map((word, i) => `P(${D.vocabulary[word]}) ${percent(here[i])} → ${percent(shares[i])}`).join(", ");
  const largest = Math.max(...moves.flat().map(Math.abs));
  $("beside-sum").textContent = `With “${beside.text}” instead of “${D.prompt}”: ${told(beside.there)}.`;
  $("beside-cells").textContent = `Each cell: by how much ln P(${one}) − ln P(${other}) moves when one part, at one token, does what it did in the second text${columns.at(-1)[0] === "all" ? " (in the last column: at all tokens)" : ", both counted from the end, as the texts have different lengths"}. Orange: towards ${other}.${parts.some(part => part.includes(",")) ? "" : " Whole layers only: the model is too large to try all parts of them."} Pick a cell.`;
  const cells = moves.map((row, i) => row.map((move, j) => {
    const text = move.toFixed(1).replace(/^-0\.0$/, "0.0"), cell = make("button", { tabindex: -1, "aria-label": `${parts[i]} at ${columns[j].join(" / ")}: ${text}`, class: text === "0.0" ? "none" : "", style: `background:${colour(move, largest / LEGIBLE)}` }, text);
    cell.onclick = () => pickCell(i, j);
    return cell;
  }));
  const pickCell = (i, j) => {
    for (const cell of cells.flat()) if (cell.tabIndex === 0) { cell.tabIndex = -1; cell.setAttribute("aria-pressed", false); }
    cells[i][j].tabIndex = 0;
    cells[i][j].setAttribute("aria-pressed", true);
    const [here, there] = columns[j][0] === "all" ? ["all tokens"] : columns[j];
    $("carried-sum").textContent = `With ${parts[i]} at ${here} as it was ${there ? `at ${there} ` : ""}in the second text: ${told(beside.carried[i][j])}.`;
    $("carried").onkeydown = event => step(event, ARROWS, ([down, right]) => {
      const [row, column] = [within(i + down, parts.length - 1), within(j + right, columns.length - 1)];
      pickCell(row, column);
      cells[row][column].focus();
    });
  };
  $("carried").replaceChildren(make("thead", {}, make("tr", {}, make("td", {}), ...columns.map(pieces => make("th", { scope: "col" }, pieces.join("\n"))))),
    make("tbody", {}, ...parts.map((part, i) => make("tr", {}, make("th", { scope: "row" }, part), ...cells[i].map(cell => make("td", {}, cell))))));
  const places = moves.flatMap((row, i) => row.map((_, j) => [i, j])), single = ([i, j]) => parts[i].includes(",") && columns[j][0] !== "all";
  const some = places.some(single) ? places.filter(single) : places;
  pickCell(...some.reduce((best, place) => Math.abs(moves[place[0]][place[1]]) > Math.abs(moves[best[0]][best[1]]) ? place : best));
}
