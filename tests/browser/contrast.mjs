// WCAG 2 contrast of everything that can be read: run inside of the page, gives what is below AA.

/** Texts whose contrast with their ground is less than 4.5:1 (3:1 where large), worst first. */
export function contrast() {
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
    return { r, g, b, a: a / 255 };
  };
  const light = ({ r, g, b }) => {
    const part = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = read(getComputedStyle(at).backgroundColor);
      if (colour.a > 0.99) return colour;
    }
    return read(getComputedStyle(document.body).backgroundColor);
  };
  const weak = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== "");
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!own || box.width === 0 || style.visibility === "hidden" || style.opacity === "0") continue;
    if (element.closest("svg, .fresh, title, .skip")) continue;
    const [a, b] = [light(read(style.color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      weak.set(`${element.tagName.toLowerCase()}.${element.className} ${style.color}`, ratio.toFixed(2));
    }
  }
  return [...weak].sort((x, y) => x[1] - y[1]).map(([what, ratio]) => `${what} has ${ratio}`);
}
