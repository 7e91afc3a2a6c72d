// Marked elements: how a blocked one is started in its place, and how a started one is taken back. A blocked element
// asks the network for nothing: its address stands in data-src, and a script's type is text/plain.

export const MARKED = "[data-sayso-service][data-sayso-use]";
const ADDRESSES = ["src", "srcset"];

/** @param {Element} element */
export const isScript = (element) => element.localName === "script";
/** @param {Element} element something that is loaded by its address */
export const isMedia = (element) =>
  !isScript(element) && ADDRESSES.some((name) => element.hasAttribute(`data-${name}`));
/** @param {Element} element a place of its own for the button that opens a service */
export const isPlace = (element) =>
  !isScript(element) && !isMedia(element) && element.hasAttribute("data-sayso-placeholder");

/** Say it once where marking came too late: a browser loads such an element before anybody can ask. */
export function complain(element) {
  const live = isScript(element) ? element.type !== "text/plain" : ADDRESSES.some((name) => element.hasAttribute(name));
  if (live) console.error("sayso: not blocked, see docs/enforcement.md (type=\"text/plain\", data-src):", element);
  return live;
}

/**
 * @param {HTMLScriptElement} blocked
 * @returns {{live: HTMLScriptElement, ready: Promise<void>}} ready: when the next script may run after it
 */
export function startScript(blocked) {
  const live = document.createElement("script");
  for (const { name, value } of blocked.attributes) {
    if (!["type", "src", "data-src", "data-type", "nonce"].includes(name)) live.setAttribute(name, value);
  }
  live.nonce = blocked.nonce;
  if (blocked.dataset.type) live.type = blocked.dataset.type;
  live.async = blocked.hasAttribute("async");
  const { src } = blocked.dataset;
  let ready = Promise.resolve();
  if (src === undefined) {
    live.text = blocked.text;
  } else {
    const ended = (done) => ["load", "error"].forEach((name) => live.addEventListener(name, () => done()));
    if (!live.async) ready = new Promise(ended);
    live.src = src;
  }
  blocked.replaceWith(live);
  return { live, ready };
}

/** @param {Element} element */
export function startMedia(element) {
  for (const name of ADDRESSES) {
    if (element.hasAttribute(`data-${name}`)) element.setAttribute(name, element.getAttribute(`data-${name}`));
  }
}

/** Put an element without its address where the running one was: its frame, and all that ran in it, is gone. */
export function takeBackMedia(element) {
  const fresh = element.cloneNode(true);
  for (const name of ADDRESSES) fresh.removeAttribute(name);
  element.replaceWith(fresh);
  return fresh;
}

/**
 * Call what the catalogue names, as "Chatra.kill": a method, or a command of a function that takes commands.
 * @returns {boolean} whether there was something to call
 */
export function call(path) {
  const steps = path.split(".");
  const last = steps.pop();
  const target = steps.reduce((found, step) => found?.[step], window);
  try {
    if (typeof target?.[last] === "function") target[last]();
    else if (typeof target === "function") target(last);
    else return false;
    return true;
  } catch (error) {
    console.error(error);
    return false;
  }
}
