// What a banner said at the moment of the click: the words are read before the banner's own handlers run and hide it.
// Invariant: nothing is kept of a click outside the banner, and nothing from one act to the next.

/**
 * @typedef {{shown?: {sha256: string, language: string}, element?: string, action?: string}} Click
 * @typedef {{banner?: string, modal?: string, centre?: string, placeholder?: string, actions?: Record<string, string>,
 *   counters?: string, language?: (surface: Element) => string | undefined}} Places CSS selectors; `counters`: what changes
 *   by itself (states, numbers of cookies) and belongs to no words; `language`: where no `lang` attribute tells it
 */

// What Sayso calls each place; the inner one first.
const ELEMENTS = { placeholder: "placeholder", centre: "preference_centre", modal: "modal", banner: "banner" };

/** The first element of the click's path that fits the selector, shadow trees included. */
function inPath(path, selector) {
  return selector && path.find((node) => node instanceof Element && node.matches(selector));
}

/** The element that is on the screen now. */
function onScreen(selector) {
  const found = selector ? [...document.querySelectorAll(selector)] : [];
  return found.find((element) => {
    const drawn = element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";
    return drawn || element.shadowRoot?.childElementCount;
  });
}

/**
 * @param {object} api what core hands to an adapter
 * @param {Places} places where the banner and its preference centre stand, and which buttons do what
 * @returns {{take: () => Click, pressed: () => string | undefined}} take(): the last click in the banner, or the banner as it
 *   stands; then forgotten. pressed(): the action of the last click, as long as nobody took it
 */
export function watchScreen(api, places) {
  /** @type {Click} */
  let last = {};
  // The words as they stood at the first click since the surface was opened: details that a visitor unfolds make no new ones.
  /** @type {{surface: Element, language: string, shown: {sha256: string, language: string}} | undefined} */
  let opened;

  function read(surface, element) {
    const language = places.language?.(surface) || surface.closest("[lang]")?.lang || api.language;
    if (opened?.surface !== surface || opened.language !== language) {
      const counters = places.counters ? [...surface.querySelectorAll(places.counters)] : [];
      counters.forEach((counter) => (counter.style.visibility = "hidden"));
      opened = { surface, language, shown: api.shown(surface.shadowRoot ?? surface, language) };
      counters.forEach((counter) => (counter.style.visibility = ""));
    }
    return { element, shown: opened.shown };
  }

  /** What `find` finds first of the places, read. */
  function readFirst(find) {
    for (const [place, element] of Object.entries(ELEMENTS)) {
      const surface = find(places[place]);
      if (surface) return read(surface, element);
    }
    return {};
  }

  document.addEventListener(
    "click",
    (event) => {
      const path = event.composedPath();
      last = readFirst((selector) => inPath(path, selector));
      last.action = Object.keys(places.actions ?? {}).find((name) => inPath(path, places.actions[name]));
      if (!last.shown) opened = undefined;
    },
    true,
  );

  return {
    take() {
      const click = last.shown ? last : { ...readFirst(onScreen), action: last.action };
      last = {};
      opened = undefined;
      return click;
    },
    pressed: () => last.action,
  };
}

/** The action's name as the outcome shows it, where no button told it. */
export function actionOf(choices) {
  if (choices.every(({ granted }) => granted)) return "accept_all";
  return choices.some(({ granted }) => granted) ? "save" : "reject_all";
}

// navigator.userActivation would do, but survives a reload in Chromium: what runs on load would look like an act.
const GESTURE_MS = 5000;
let clickedAt = -GESTURE_MS;
addEventListener("click", (event) => event.isTrusted && (clickedAt = performance.now()), true);

/** Whether the visitor, and no script, clicked on this page just now. */
export const isGesture = () => performance.now() - clickedAt < GESTURE_MS;

/** The key of a name that a site made up: as it is if the site maps it, else as Sayso takes it. */
export const keyOf = (api, name) => (name in api.config.map ? name : slug(name));

/** A service by such a name; none if nothing of the name can be written as Sayso does. */
export const servicesOf = (name) => (slug(name) ? [slug(name)] : undefined);

/** A name as Sayso takes it, made of a name that people read: "Google Analytics" -> "google-analytics". */
export function slug(name) {
  return String(name)
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|-+$/g, "");
}
