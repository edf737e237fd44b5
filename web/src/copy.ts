import { word } from "./dom";

/** A button on everything that is there to be copied. */
export function copyButtons(): void {
  for (const figure of document.querySelectorAll<HTMLElement>(".snippet figure")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = word("copy");
    button.addEventListener("click", async () => {
      const text = figure.querySelector("pre")?.textContent ?? "";
      button.textContent = (await put(text, figure)) ? word("copied") : word("copy");
      setTimeout(() => (button.textContent = word("copy")), 1600);
    });
    figure.append(button);
  }
}

/** Into the clipboard; where a page may not (plain HTTP from afar), the text is selected instead. */
async function put(text: string, figure: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const pre = figure.querySelector("pre");
    if (pre) getSelection()?.selectAllChildren(pre);
    return false;
  }
}
