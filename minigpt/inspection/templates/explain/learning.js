/* How surprising each word is, before and after one step of gradient descent on this very text. */
function drawLearning() {
  const { learning } = D;
  $("learning").hidden = !learning;
  if (!learning) return;
  const update = learning.updates && learning.updates[state.update], nats = (update || learning).surprises;
  const mean = numbers => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  $("guessing").textContent = `ln ${D.model.vocab_size.toLocaleString("en")} = ${learning.guessing.toFixed(2)}`;
  $("surprises").replaceChildren(...D.tokens.slice(1).map((token, i) => make("span", { class: "chip", style: `background:${colour(-Math.min(nats[i], learning.guessing), learning.guessing / LEGIBLE)}` }, token.piece + " ", make("small", {}, nats[i].toFixed(2)))));
  $("update").hidden = !update;
  if (!update) return;
  const [first] = learning.updates, last = learning.updates.length - 1;
  $("rate").max = last; $("rate").value = state.update;
  $("rate-value").value = update.rate;
  $("rate").setAttribute("aria-valuetext", `rate ${update.rate}`);
  $("update-sum").textContent = `Loss on this text: ${mean(first.surprises).toFixed(3)} → ${mean(nats).toFixed(3)} nats. On one that the model wrote itself (“${learning.own.trim()}”): ${first.own.toFixed(3)} → ${update.own.toFixed(3)}. The next word is then:`;
  chips($("update-guesses"), update.guesses);
}

function drawTraining() {
  const stage = D.stages[state.stage];
  $("training").hidden = !D.stages.length;
  if (!stage) return;
  $("stage").max = D.stages.length - 1;
  $("stage").value = state.stage;
  $("stage-value").value = stage.step.toLocaleString("en");
  $("stage").setAttribute("aria-valuetext", `step ${stage.step}`);
  chips($("stage-guesses"), stage.guesses);
  drawMatrix($("stage-matrix"), stage.weights, [state.layer, state.head]);
  $("stage-matrix").setAttribute("aria-label", `At step ${stage.step}: ` + D.tokens.map((_, j) => looks(stage.weights, [state.layer, state.head], last(), j)).join(", "));
}
