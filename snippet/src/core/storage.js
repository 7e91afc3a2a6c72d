// What stays on the device. Nothing is written before an act; where the browser refuses storage, memory serves the page.
// With data-domain the choice and the visitor's key are cookies of that domain, so that subdomains share one choice.

import { config } from "./config.js";

export const CHOICE = "sayso";
export const QUEUE = "sayso.queue";
export const VISITOR = "sayso.visitor";
const LIFE_S = 400 * 86400; // the longest that browsers keep a cookie

/** @type {Record<string, any>} */
const memory = {};
const cookie = (name) => config.domain && name !== QUEUE && name.replace(".", "_") + "=";

/** @param {string} name @returns {string | null} */
function get(name) {
  const start = cookie(name);
  if (!start) return localStorage.getItem(name);
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(start));
  return found ? decodeURIComponent(found.slice(start.length)) : null;
}

/** @param {string} name @param {string | null} text */
function put(name, text) {
  const start = cookie(name);
  if (start) {
    const secure = location.protocol === "https:" ? ";secure" : "";
    document.cookie = `${start}${encodeURIComponent(text || "")};path=/;domain=${config.domain};max-age=${text ? LIFE_S : 0};samesite=lax${secure}`;
  } else if (text) localStorage.setItem(name, text);
  else localStorage.removeItem(name);
}

/** @param {string} name @returns {any} null if there is nothing */
export function read(name) {
  if (name in memory) return memory[name];
  try {
    return JSON.parse(get(name));
  } catch {
    return null;
  }
}

/** @param {string} name @param {any} value null removes it */
export function write(name, value) {
  const text = value && JSON.stringify(value);
  delete memory[name];
  try {
    put(name, text);
    // A cookie that is too large, or refused, vanishes without an error.
    if (get(name) === text) return;
  } catch {
    // Storage is blocked or full.
  }
  memory[name] = value;
}
