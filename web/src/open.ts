import { fetchPage, view } from "./dom";

const detailOf = (line: Element): HTMLElement | null => {
  const next = line.nextElementSibling;
  return next instanceof HTMLElement && next.classList.contains("detail") ? next : null;
};

/** The address as it should be with this line open, or with none. */
function remember(id: string | null): void {
  const url = new URL(location.href);
  if (id) url.searchParams.set("open", id);
  else url.searchParams.delete("open");
  url.hash = "";
  history.replaceState(null, "", url);
}

function close(line: Element): void {
  line.classList.remove("open");
  detailOf(line)?.remove();
}

/** Does the list show this message whole already? */
function isSeen(line: HTMLElement, text: string): boolean {
  const message = line.querySelector<HTMLElement>(".message");
  return (
    message?.textContent === text &&
    message.scrollWidth <= message.clientWidth &&
    message.scrollHeight <= message.clientHeight + 2
  );
}

/** Opens a line where it stands, or closes it. */
export async function toggle(line: HTMLElement): Promise<void> {
  const id = line.id.slice(1);
  const wasOpen = line.classList.contains("open");
  for (const other of document.querySelectorAll(".line.open")) close(other);
  remember(wasOpen ? null : id);
  if (wasOpen) return;
  line.classList.add("open");
  const href = line.querySelector<HTMLAnchorElement>("a.message")?.dataset["record"];
  const page = href ? await fetchPage(href).catch(() => null) : null;
  const detail = page?.querySelector(".detail");
  if (!detail || !line.classList.contains("open") || detailOf(line)) {
    if (!detail && href) location.assign(href);
    return;
  }
  const item = document.createElement("li");
  item.className = detail.className;
  item.append(...detail.childNodes);
  const full = item.querySelector(".full");
  if (full && isSeen(line, full.textContent ?? "")) full.remove();
  line.after(item);
}

/** Lines open in place; a selection of text is no click. */
export function openInPlace(): void {
  document.addEventListener("click", (event) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (!(event.target instanceof Element)) return;
    const line = event.target.closest<HTMLElement>("#view .line");
    const link = event.target.closest("a");
    if (!line || (link && !link.matches(".message, .at-time"))) return;
    event.preventDefault();
    if (getSelection()?.isCollapsed === false) return;
    void toggle(line);
  });
  // Without this a page that was opened with `open=` jumps under the header.
  view()?.querySelector(".line.open")?.scrollIntoView({ block: "nearest" });
}
