/** A drag over the histogram narrows the range to what was drawn over. */
export function brush(): void {
  let start: { chart: SVGSVGElement; x: number; mark: SVGRectElement } | null = null;

  const share = (chart: SVGSVGElement, x: number): number => {
    const box = chart.getBoundingClientRect();
    return Math.min(Math.max((x - box.left) / box.width, 0), 1);
  };

  document.addEventListener("pointerdown", (event) => {
    const chart = event.target instanceof Element ? event.target.closest<SVGSVGElement>("svg.bars") : null;
    if (!chart || event.button !== 0 || event.pointerType === "touch") return;
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    mark.setAttribute("class", "brush");
    mark.setAttribute("height", "100%");
    start = { chart, x: event.clientX, mark };
  });
  document.addEventListener("dragstart", (event) => {
    if (start) event.preventDefault();
  });
  document.addEventListener("pointermove", (event) => {
    if (!start || Math.abs(event.clientX - start.x) < 5) return;
    const [from, to] = [share(start.chart, start.x), share(start.chart, event.clientX)].sort((a, b) => a - b);
    start.mark.setAttribute("x", `${(from ?? 0) * 100}%`);
    start.mark.setAttribute("width", `${((to ?? 0) - (from ?? 0)) * 100}%`);
    if (!start.mark.isConnected) start.chart.append(start.mark);
  });
  document.addEventListener("pointerup", (event) => {
    const drawn = start;
    start = null;
    if (!drawn?.mark.isConnected) return;
    drawn.mark.remove();
    // The click that follows would follow the link of one bar.
    addEventListener("click", (click) => (click.preventDefault(), click.stopPropagation()), { capture: true, once: true });
    const [from, to] = [share(drawn.chart, drawn.x), share(drawn.chart, event.clientX)].sort((a, b) => a - b);
    const first = Number(drawn.chart.dataset["from"]);
    const width = Number(drawn.chart.dataset["to"]) - first;
    const url = new URL(location.href);
    for (const name of ["cursor", "newer", "open", "live"]) url.searchParams.delete(name);
    url.searchParams.set("from", String(Math.floor(first + width * (from ?? 0))));
    url.searchParams.set("to", String(Math.ceil(first + width * (to ?? 1))));
    location.assign(url);
  });
}
