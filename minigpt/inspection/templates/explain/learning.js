/* How surprising each word is, before and after one step of gradient descent on this very text. */
function drawLearning(pending = false) {
  const { learning } = D;
  $("learning").setAttribute("aria-busy", pending);
  if (pending) return;  // what is there stays until then
  $("learning").hidden = !learning;
  if (!learning) return;
  const update = learning.updates && learning.updates[state.update], nats = (update || learning).surprisals;
  const mean = numbers => total(numbers) / numbers.length, { least } = learning;
  $("guessing").textContent = `ln ${D.model.vocab_size.toLocaleString("en")} = ${learning.guessing.toFixed(2)}`;
  $("surprisals").replaceChildren(...D.tokens.slice(1).map((token, i) => make("span", { class: "chip", style: `background:${colour(-Math.min(nats[i], learning.guessing), learning.guessing / LEGIBLE)}` }, token.piece + " ", make("small", {}, nats[i].toFixed(2)), ...(i < least.length ? [make("small", { class: "least" }, ` / ${least[i].toFixed(2)}`)] : []))));
  $("unknown").textContent = learning.unknown;
  $("least").hidden = !least.length;
  if (least.length) $("least-mean").textContent = `${mean(nats.slice(0, least.length)).toFixed(2)} and ${mean(least).toFixed(2)}`;
  $("update").hidden = !update;
  if (!update) return;
  const [first] = learning.updates, last = learning.updates.length - 1;
  $("rate").max = last; $("rate").value = state.update;
  $("rate-value").value = update.rate;
  $("rate").setAttribute("aria-valuetext", `rate ${update.rate}`);
  $("update-sum").textContent = `Loss on this text: ${mean(first.surprisals).toFixed(3)} → ${mean(nats).toFixed(3)} nats. On one that the model wrote itself (“${learning.own.trim()}”): ${first.own.toFixed(3)} → ${update.own.toFixed(3)}. The next word is then:`;
  chips($("update-guesses"), update.guesses);
}

/* The losses of the training, and where on their way this checkpoint stands. */
function drawLosses(step) {
  const { loss, validation_loss } = D.losses, all = [...loss, ...validation_loss];
  $("losses").style.display = all.length > 1 ? "" : "none";
  if (all.length < 2) return;
  const most = Math.max(D.step, ...all.map(([at]) => at)), nats = all.map(([, one]) => one), [low, high] = [Math.min(...nats), Math.max(...nats)];
  const x = at => 40 + 630 * at / (most || 1), y = one => 180 - 160 * (one - low) / (high - low || 1);
  const line = (curve, name) => make("path", { class: name, d: "M" + curve.map(([at, one]) => `${x(at)},${y(one)}`).join(" L") });
  $("losses").replaceChildren(...(loss.length ? [line(loss, "faint")] : []), ...(validation_loss.length ? [line(validation_loss, "")] : []), make("path", { class: "now", d: `M${x(step)},10 V185` }),
    make("text", { x: 0, y: y(high) + 5 }, high.toFixed(1)), make("text", { x: 0, y: y(low) + 5 }, low.toFixed(1)), make("text", { x: 670, y: 200, "text-anchor": "end" }, `step ${most.toLocaleString("en")}`));
  $("losses").setAttribute("aria-label", `Validation loss in nats per token: ${validation_loss.map(([at, one]) => `${one.toFixed(2)} at step ${at}`).join(", ")}`);
}

function drawTraining() {
  const stage = D.stages[state.stage];
  $("training").hidden = !D.stages.length;
  if (!stage) return;
  $("stage").max = D.stages.length - 1;
  $("stage").value = state.stage;
  $("stage-value").value = stage.step.toLocaleString("en");
  $("stage").setAttribute("aria-valuetext", `step ${stage.step}`);
  drawLosses(stage.step);
  chips($("stage-guesses"), stage.guesses);
  $("stage-head").textContent = `Who looked at whom in layer ${state.layer + 1}, head ${state.head + 1}`;
  drawMatrix($("stage-matrix"), stage.weights, [state.layer, state.head]);
  $("stage-matrix").setAttribute("aria-label", `Layer ${state.layer + 1}, head ${state.head + 1} at step ${stage.step}: ` + D.tokens.map((_, j) => looks(stage.weights, [state.layer, state.head], last(), j)).join(", "));
}
