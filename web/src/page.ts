/**
 * What scripts add to pages that are whole without them: lines that open without leaving, a live
 * view, keys, a brush on the histogram. The server renders everything; a script only asks for the
 * page again and puts its parts in place, so that there is one renderer and one truth.
 */
import { brush } from "./brush";
import { copyButtons } from "./copy";
import { keys } from "./keys";
import { live, waitForFirst } from "./live";
import { openInPlace } from "./open";
import { rememberZone } from "./zone";

document.documentElement.classList.add("js");
rememberZone();
keys();
openInPlace();
brush();
copyButtons();
live();
waitForFirst();

// Empty inputs are not part of a question.
document.querySelector<HTMLFormElement>("#ask")?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData.entries()]) {
    if (value === "" && name !== "q") event.formData.delete(name);
  }
});

// A click beside the open time sheet closes it.
document.addEventListener("click", (event) => {
  for (const sheet of document.querySelectorAll<HTMLDetailsElement>(".range[open]")) {
    if (event.target instanceof Node && !sheet.contains(event.target)) sheet.open = false;
  }
});
