import { fetchPage, view, word } from "./dom";

/** Shortest time between two looks, milliseconds; and how much longer than a look took. */
const PAUSE_MIN = 150;
const PAUSE_SHARE = 4;

/** Ids of the lines that are shown. */
const shown = (): Set<string> => new Set([...document.querySelectorAll("#view .line")].map((line) => line.id));

/** Is somebody reading: scrolled away from the newest, a line open, text selected, a hidden tab? */
function reading(): boolean {
  const scroll = document.querySelector("#view .scroll");
  return (
    document.hidden ||
    (scroll?.scrollTop ?? 0) > 4 ||
    document.querySelector("#view .line.open") !== null ||
    (getSelection()?.isCollapsed === false && view()?.contains(getSelection()?.anchorNode ?? null) === true)
  );
}

/**
 * The live view: the tail says that something came, the page is asked for again and its view put
 * in place, at most as often as keeps the server's work for us small. While somebody is reading,
 * nothing moves; what came is counted.
 */
export function live(): void {
  const found = document.querySelector<HTMLAnchorElement>(".live[aria-pressed=true][data-tail]");
  if (!found) return;
  const button: HTMLAnchorElement = found;
  let came = 0;
  let looking = false;
  let notBefore = 0;
  let timer = 0;

  const waiting = document.createElement("button");
  waiting.type = "button";
  waiting.className = "waiting";
  waiting.hidden = true;
  waiting.addEventListener("click", () => void look(true));

  function plan(): void {
    if (timer || looking) return;
    timer = window.setTimeout(
      () => {
        timer = 0;
        void look(false);
      },
      Math.max(PAUSE_MIN, notBefore - performance.now()),
    );
  }

  function tell(): void {
    const many = word("waiting").replace("{}", came.toLocaleString(document.documentElement.lang));
    waiting.textContent = came === 1 ? word("waitingOne") : many;
    waiting.hidden = came === 0 || !reading();
    const place = document.querySelector("#view .scroll");
    if (place && waiting.parentElement !== place) place.prepend(waiting);
  }

  async function look(asked: boolean): Promise<void> {
    if (looking) return;
    if (!asked && reading()) return tell();
    looking = true;
    const before = performance.now();
    const counted = came;
    const url = new URL(location.href);
    if (asked) url.searchParams.delete("open");
    try {
      const page = await fetchPage(url.href);
      const fresh = page?.querySelector("#view");
      const old = view();
      if (fresh && old && (asked || !reading())) {
        const had = shown();
        for (const line of fresh.querySelectorAll(".line")) {
          if (had.size > 0 && !had.has(line.id)) line.classList.add("fresh");
        }
        old.replaceChildren(...fresh.childNodes);
        if (asked) {
          history.replaceState(null, "", url);
          old.querySelector(".scroll")?.scrollTo({ top: 0 });
        }
        came -= counted;
        tell();
      }
    } catch {
      // The tail reconnects by itself; the next line asks again.
    }
    looking = false;
    notBefore = performance.now() + PAUSE_SHARE * (performance.now() - before);
    if (came > 0 && !reading()) plan();
    else if (came > 0) tell();
  }

  const tail = new EventSource(button.dataset["tail"] ?? "");
  tail.addEventListener("open", () => delete button.dataset["lost"]);
  tail.addEventListener("error", () => (button.dataset["lost"] = ""));
  tail.addEventListener("record", () => {
    came += 1;
    if (reading()) tell();
    else plan();
  });
  tail.addEventListener("lag", (event) => {
    came += Number.parseInt((event as MessageEvent<string>).data.replace(/\D+/g, ""), 10) || 0;
    plan();
  });
  // Back at the newest line: catch up.
  const resume = (): void => {
    if (came > 0 && !reading()) plan();
  };
  document.addEventListener("scroll", resume, { capture: true, passive: true });
  document.addEventListener("visibilitychange", resume);
  document.addEventListener("selectionchange", resume);
  // The range moves on also while nothing comes.
  setInterval(() => !reading() && plan(), 15_000);
  addEventListener("pagehide", () => tail.close());
}

/** The page of an empty store becomes the viewer when the first line is there. */
export function waitForFirst(): void {
  const place = document.querySelector<HTMLElement>("[data-first]");
  if (!place) return;
  const tail = new EventSource(place.dataset["first"] ?? "");
  tail.addEventListener("record", () => {
    tail.close();
    location.replace("/?live=1");
  });
}
