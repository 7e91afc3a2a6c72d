// What the site says to the snippet: the attributes of its script tag, then window.saysoConfig. Read once, at start.

const script = document.currentScript;
const given = { ...script?.dataset, ...window.saysoConfig };

/** @param {string | undefined} text @returns {string} a language as the event schema spells it */
export function languageTag(text) {
  const tag = (text || "").replaceAll("_", "-").replace(/^[A-Za-z]+/, (primary) => primary.toLowerCase());
  return /^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/.test(tag) ? tag : "en";
}

export const config = {
  ...given,
  endpoint: given.endpoint || new URL(script.src).origin,
  language: languageTag(given.language || document.documentElement.lang || navigator.language),
  map: typeof given.map === "string" ? JSON.parse(given.map) : given.map || {},
  /** A nonce of the site's content security policy goes on to what we load. */
  nonce: script?.nonce,
};
/** An attribute without a value counts as said. @param {string} name */
export const says = (name) => config[name] != null && config[name] !== false && config[name] !== "false";
