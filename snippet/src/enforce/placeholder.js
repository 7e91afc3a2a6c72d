// What stands in the place of a frame or a widget until its use is granted: words and one button, reachable by keyboard
// and named for readers. The site's own words stay when it wrote a button itself.

import { isPlace } from "./elements.js";
import { neutralText, openLabel } from "./texts.js";

let ids = 0;

function write(box, language, name, text) {
  const words = document.createElement("p");
  words.textContent = text ?? neutralText(language, name);
  words.id = `sayso-placeholder-${(ids += 1)}`;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = openLabel(language, name);
  button.setAttribute("aria-describedby", words.id);
  box.lang = language;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  box.append(words, button);
  return button;
}

/** The display an author gave to an element that is hidden now. @type {WeakMap<HTMLElement, string>} */
const displays = new WeakMap();

/** @param {HTMLElement} element @param {boolean} hidden */
export function hide(element, hidden) {
  if (hidden === displays.has(element)) return;
  if (hidden) {
    displays.set(element, element.style.display);
    element.style.setProperty("display", "none", "important");
  } else {
    element.style.setProperty("display", displays.get(element));
    displays.delete(element);
  }
}

export class Placeholder {
  /**
   * @param {HTMLElement} element the blocked frame, or the site's own place ([data-sayso-placeholder])
   * @param {{language: string, name: string, text?: string}} words
   * @param {(box: HTMLElement, language: string) => void} open called on the click, with what the visitor read
   */
  constructor(element, { language, name, text }, open) {
    this.element = element;
    this.own = isPlace(element) && element.querySelector("button") !== null;
    this.box = isPlace(element) ? element : document.createElement("div");
    this.box.classList.add("sayso-placeholder");
    this.button = this.own ? element.querySelector("button") : write(this.box, language, name, text);
    const read = this.own ? element.closest("[lang]")?.lang || language : language;
    this.clicked = () => open(this.box, read);
    this.button.addEventListener("click", this.clicked);
    if (!isPlace(element)) {
      hide(element, true);
      element.before(this.box);
    } else {
      hide(element, false);
    }
  }

  /** Take it away; where it held the focus, the opened frame has it now. */
  remove() {
    const focused = this.box.contains(document.activeElement);
    this.button.removeEventListener("click", this.clicked);
    if (isPlace(this.element)) {
      hide(this.element, true);
      if (!this.own) this.element.replaceChildren();
      return;
    }
    this.box.remove();
    hide(this.element, false);
    if (focused) this.element.focus();
  }
}
