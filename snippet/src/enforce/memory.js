// What enforcement remembers over page loads, inside the choice: uses that ran, names to delete again, names seen while
// something ran. Several tabs write it: each takes over what another wrote, and all of them end with the same bytes.

const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1)));

/**
 * Take over what another tab wrote since, but for what the visitor's last word has settled.
 * @param {import("./enforcer.js").Enforcer} enforcer
 * @param {{ran?: string[], gone?: Record<string, string[]>, seen?: Record<string, string[]>}} [stored]
 */
export function takeOver(enforcer, { ran = [], gone = {}, seen = {} } = {}) {
  for (const key of ran) if (!enforcer.refused(key)) enforcer.ran.add(key);
  for (const [key, names] of Object.entries(gone)) {
    if (!enforcer.granted(key)) enforcer.gone[key] = [...new Set([...(enforcer.gone[key] ?? []), ...names])];
  }
  for (const [owners, names] of Object.entries(seen)) {
    const keys = owners.split(" ");
    if (keys.every((key) => enforcer.refused(key))) continue;
    for (const name of names) if (!enforcer.seen.owners.has(name)) enforcer.seen.owners.set(name, keys);
  }
}

/** Forget what the visitor's last word has settled. @param {import("./enforcer.js").Enforcer} enforcer */
export function settle(enforcer) {
  const { ran, gone, seen } = enforcer;
  for (const key of Object.keys(gone)) if (enforcer.granted(key)) delete gone[key];
  for (const key of ran) if (enforcer.refused(key)) ran.delete(key);
  for (const [name, owners] of seen.owners) if (owners.every((key) => enforcer.refused(key))) seen.forget(name);
}

/** @param {import("./enforcer.js").Enforcer} enforcer @returns {object | undefined} undefined: nothing to remember */
export function pack({ ran, gone, seen }) {
  const names = Object.entries(gone).map(([key, listed]) => [key, [...listed].sort()]);
  const whole = { ran: [...ran].sort(), gone: sorted(Object.fromEntries(names)), seen: sorted(seen.remembered()) };
  const filled = Object.entries(whole).filter(([, value]) => Object.keys(value).length > 0);
  return filled.length > 0 ? Object.fromEntries(filled) : undefined;
}
