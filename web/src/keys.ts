import { toggle } from "./open";

const lines = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>("#view .line")];

function move(step: number): void {
  const all = lines();
  const at = all.findIndex((line) => line.classList.contains("at"));
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
  all[at]?.classList.remove("at");
  next?.classList.add("at");
  next?.scrollIntoView({ block: "nearest" });
}

/** `/` asks, `j` and `k` walk, Enter opens, Escape leaves. */
export function keys(): void {
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const input = document.querySelector<HTMLInputElement>("#q");
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/" && input) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "j" || event.key === "k") {
      move(event.key === "j" ? 1 : -1);
    } else if (event.key === "Enter" && (event.target === document.body || event.target === document.documentElement)) {
      const line = document.querySelector<HTMLElement>("#view .line.at");
      if (line) void toggle(line);
    } else if (event.key === "Escape") {
      for (const sheet of document.querySelectorAll<HTMLDetailsElement>(".range[open]")) sheet.open = false;
    }
  });
}
