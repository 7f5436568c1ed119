/* Live: another text, or newer weights, from the server that the page came from. */
let asked = 0, later;

/* The picture at once; parts at their mean, a second text and the step of learning, which take longer, when nothing else is wanted. */
async function ask(learning = false) {
  const mine = ++asked;
  clearTimeout(later);
  try {
    const answer = await fetch("data", { method: "POST", body: JSON.stringify({ prompt: $("prompt").value, step: (own ?? D).step, without: [...state.off], beside: learning && $("second").value || null, learning }) });
    const told = answer.headers.get("content-type")?.includes("json"), data = told ? await answer.json() : { error: "minigpt could not work that out; the window in which it runs says why" };
    if (mine !== asked) return;
    $("trouble").textContent = data.error || "";
    if (data.error) return;
    if (own) { own = { ...own, ...data }; return; }  // during the tour: it is there when she leaves
    if (learning && !data.map) { const { switches, beside, learning } = data; Object.assign(D, { switches, beside, learning }); drawSwitches(); drawBeside(); return drawLearning(); }
    take(data, !data.map);
    if (!data.map || $("second").value) later = setTimeout(ask, 400, true);
  } catch { $("trouble").textContent = "minigpt does not answer; is it still running?"; }
}

if ($("prompt")) {
  let waiting;
  $("append").onclick = () => { $("prompt").value = D.prompt + D.continuations[state.candidate].next; ask(); };
  const soon = more => { clearTimeout(waiting); waiting = setTimeout(ask, 10, more); };
  $("prompt").oninput = () => soon(false);
  $("second").oninput = () => soon(true);
  setInterval(async () => {
    if (document.hidden) return;
    const { step } = own ?? D, newest = await fetch("step").then(answer => answer.json()).catch(() => step);
    if (newest !== step) ask();
  }, 3000);
}
