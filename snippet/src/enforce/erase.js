// What is deleted when uses end, and what a page cannot delete: the two lists of a withdrawal (docs/enforcement.md).

import * as names from "./names.js";
import { pairOf } from "./rules.js";
import { Seen } from "./seen.js";

/** As many names as an event takes (schemas.limits), and as long. */
const ENTRIES_MAX = 128;
const CHARACTERS_MAX = 512;

/**
 * Whom a present name belongs to among the ended uses, and whether another use still needs it.
 * @returns {{key: string, shared: boolean} | undefined}
 */
function claim({ rules, seen, granted }, name, ended) {
  const over = (key) => ended.has(key) || !(granted(key) || seen.running.has(key));
  const listed = rules.owners(name);
  const owners = listed.length > 0 ? listed : seen.owners.get(name) ?? [];
  const key = owners.find((one) => ended.has(one));
  if (key === undefined) return undefined;
  const goes = listed.length > 0 ? listed.every(over) : Seen.goes(owners, new Set(owners.filter(over)));
  return { key, shared: !goes };
}

function hiddenCookies({ rules }, ended) {
  const cookies = new Set([...ended].flatMap((key) => rules.cookies(key)));
  const readable = names.list();
  return [...cookies].filter((name) => !readable.has(`cookie:${name}`) && names.isHidden(name));
}

/**
 * Delete the names of these uses.
 * @param {import("./enforcer.js").Enforcer} enforcer
 * @param {Set<string>} ended
 * @returns {{deleted: string[], left: string[]}}
 */
export function erase(enforcer, ended) {
  const { rules, seen, gone } = enforcer;
  const granted = (key) => enforcer.granted(key);
  const [deleted, left] = [[], []];
  for (const name of names.list()) {
    const claimed = claim({ rules, seen, granted }, name, ended);
    if (claimed === undefined) continue;
    const outcome = claimed.shared ? "shared" : names.remove(name);
    if (outcome === "deleted") deleted.push(name);
    else left.push(`${name} ${outcome}`);
    if (claimed.shared) continue;
    gone[claimed.key] = [...new Set([...(gone[claimed.key] ?? []), name])];
    seen.forget(name);
  }
  left.push(...hiddenCookies(enforcer, ended).map((name) => `cookie:${name} http-only`));
  const met = enforcer.services();
  const services = new Set([...ended].map((key) => pairOf(key).service).filter((service) => met.has(service)));
  const domains = [...services].flatMap((service) => rules.thirdParties(service));
  left.push(...domains.map((domain) => `domain:${domain} third-party`));
  const fit = (entries) => entries.slice(0, ENTRIES_MAX).map((entry) => entry.slice(0, CHARACTERS_MAX));
  return { deleted: fit(deleted), left: fit(left) };
}
