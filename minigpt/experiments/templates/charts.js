"use strict";
/* The library lies compressed in the page, a fourth of its size; its figures are drawn when it is unpacked. */
(async () => {
  const charts = document.querySelectorAll(".chart");
  if (!("DecompressionStream" in window)) return charts.forEach(chart => chart.append("This browser cannot draw the curves; one of 2023 or later can."));
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), letter => letter.charCodeAt(0));
  const library = document.createElement("script");
  library.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(library);
  for (const chart of charts) Plotly.newPlot(chart, JSON.parse(chart.nextElementSibling.textContent));
})();
