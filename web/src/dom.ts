/** The part of a page that is asked for again; see `live.ts`. */
export const view = (): HTMLElement | null => document.querySelector<HTMLElement>("#view");

/** Asks for a page and gives its document; `null` where the answer is no page of ours. */
export async function fetchPage(href: string, signal?: AbortSignal): Promise<Document | null> {
  const answer = await fetch(href, { headers: { accept: "text/html" }, signal: signal ?? null });
  if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/html")) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** The words that scripts need, in the page's language. */
export const word = (name: string): string => document.body.dataset[name] ?? "";
