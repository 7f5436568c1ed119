"use strict";
// Unpacks the library that draws, and has it draw every chart of the page.

async function drawCharts() {
  const charts = [...document.querySelectorAll(".chart")].map((place) => ({ place, ...JSON.parse(place.nextElementSibling.textContent) }));
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (byte) => byte.charCodeAt(0));
  const library = document.createElement("script");
  library.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(library);
  for (const { place, data, layout } of charts) {
    await Plotly.newPlot(place, data, layout, { displayModeBar: false, responsive: true });
  }
  document.getElementById("axis")?.addEventListener("change", ({ target }) => {
    for (const { place, axes } of charts) {
      Plotly.update(place, { x: axes[target.value] }, { "xaxis.title.text": target.value });
    }
  });
}

if ("DecompressionStream" in window) drawCharts();
else document.getElementById("no-charts").hidden = false;
