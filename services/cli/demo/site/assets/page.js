// Elements and texts of the page. Words are always set as text, so nothing that was fetched becomes markup.

export const texts = JSON.parse(document.getElementById("texts").textContent);
export const language = document.documentElement.lang;

/**
 * @param {string} tag @param {Record<string, any>} members properties; `class` for the class name
 * @param {...(Node | string)} children
 */
export function make(tag, members = {}, ...children) {
  const element = document.createElement(tag);
  const { class: name, ...rest } = members;
  if (name) element.className = name;
  Object.assign(element, rest);
  element.append(...children.filter((child) => child != null));
  return element;
}

/** @param {string} label @param {() => void} act @param {string} [name] class */
export const button = (label, act, name) => make("button", { type: "button", class: name, textContent: label, onclick: act });

/** @param {any} purpose of a notice @param {boolean} granted a decision as sayso.record() takes it */
export const decision = ({ purpose, legal_basis, services }, granted) => ({
  purpose,
  legal_basis,
  granted,
  // A purpose of the site's own names no service; for others the answer is about those of the notice.
  services: services.length ? services : undefined,
});
