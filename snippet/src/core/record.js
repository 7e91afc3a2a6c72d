// What a page may ask for: window.sayso. Every function works without an adapter and without storage.

import { choice, commit, decide, permits, sendLink } from "./acts.js";
import { config } from "./config.js";
import { VISITOR, read } from "./storage.js";
import { visitorId } from "./ids.js";

/** An act that the page itself saw. @param {{decisions: any[]}} act @returns {string | undefined} the event's id */
export function record({ decisions, ...about }) {
  return decisions[0] && commit(decisions.map(decide), about);
}

/** Take back what was granted: everything, or some purposes. @param {string[]} [purposes] */
export function withdraw(purposes) {
  const standing = choices().filter((d) => permits(d) && (!purposes || purposes.includes(d.purpose)));
  return record({ decisions: standing.map(({ decision, ...d }) => d), action: "withdraw" });
}

/** Every answer that stands, or an empty list. */
export const choices = () => choice()?.choices || [];

/** @param {string} purpose @param {string} [service] */
export const granted = (purpose, service) =>
  choices().some((d) => d.purpose === purpose && permits(d) && (!service || !d.services || d.services.includes(service)));

/** @param {string} url @param {RequestInit} [options] */
async function ask(url, options) {
  const response = await fetch(url, { credentials: "omit", ...options });
  if (!response.ok) throw new Error(`sayso: ${response.status} from ${new URL(url).pathname}`);
  return response.json();
}

/** The notice to show, with its token, which stays in memory. @param {string} [language] @param {string} [id] of several */
export const notice = (language = config.language, id) =>
  ask(`${config.endpoint}/v1/notices/${config.site}?language=${language}${id ? "&notice=" + id : ""}`);

/** What the log holds of this visitor, shown on the strength of the capability that the first answer brought. */
export const history = async () =>
  ask(config.query + "/v1/me/history", { headers: { authorization: "Bearer " + read(VISITOR)?.capability } });

/** This visitor's identifier, for the site's server to sign in link(); null while nothing is granted. */
export const visitor = () => (read(VISITOR) ? visitorId(read(VISITOR).key) : null);

/** After sign-in. @param {string} identity what the site's server signed */
export const link = (identity) =>
  sendLink(JSON.parse(decode(identity.slice(3).split(".")[0])).identifier, "linked", identity);

/** At sign-out. */
export const unlink = () => sendLink(read(VISITOR)?.link, "ended");

/** @param {string} text base64url of UTF-8 */
const decode = (text) =>
  new TextDecoder().decode(Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)));
