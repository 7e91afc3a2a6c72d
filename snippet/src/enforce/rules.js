// What the catalogue says of the services of this site: which use owns which name, on which legal bases it stands, how
// it is stopped. Fetched once a load, without credentials; without an answer every question has an empty answer.

/** @typedef {{service: string, use: string}} Pair */

/** @param {string} service @param {string} use */
export const keyOf = (service, use) => `${service}/${use}`;

/** @param {string} key @returns {Pair} */
export function pairOf(key) {
  const at = key.indexOf("/");
  return { service: key.slice(0, at), use: key.slice(at + 1) };
}

/** @returns {(name: string) => boolean} */
function matcher(kind, { name, key, pattern }) {
  const exact = name ?? key;
  if (exact !== undefined) return (seen) => seen === `${kind}:${exact}`;
  if (pattern === undefined) return () => false;
  let found;
  try {
    found = new RegExp(pattern);
  } catch {
    console.error(`sayso: not a regular expression in the catalogue: ${pattern}`);
    return () => false;
  }
  return (seen) => seen.startsWith(`${kind}:`) && found.test(seen.slice(kind.length + 1));
}

const KIND_OF_AREA = { local: "local", session: "session", indexed_db: "db" };

/** @param {object} use one use of the catalogue's rules */
function matchersOf(use) {
  const storage = (use.storage ?? []).map((one) => matcher(KIND_OF_AREA[one.area] ?? one.area, one));
  return [...(use.cookies ?? []).map((one) => matcher("cookie", one)), ...storage];
}

export class Rules {
  /** @param {Record<string, any>} services */
  constructor(services = {}) {
    this.services = services;
    /** @type {Map<string, ((name: string) => boolean)[]>} */
    this.matchers = new Map();
    for (const [service, { uses = {} }] of Object.entries(services)) {
      for (const [use, rule] of Object.entries(uses)) this.matchers.set(keyOf(service, use), matchersOf(rule));
    }
  }

  /** Every (service, use) of the catalogue. */
  keys() {
    return [...this.matchers.keys()];
  }

  /** @returns {string[]} the uses a name is listed under; [] for a name the catalogue does not know */
  owners(name) {
    return this.keys().filter((key) => this.matchers.get(key).some((matches) => matches(name)));
  }

  /** @returns {string[]} cookies listed by their exact name under one use */
  cookies(key) {
    const { service, use } = pairOf(key);
    const listed = this.services[service]?.uses?.[use]?.cookies ?? [];
    return listed.map((one) => one.name).filter((name) => name !== undefined);
  }

  /** @returns {string[]} */
  bases(key) {
    const { service, use } = pairOf(key);
    return this.services[service]?.uses?.[use]?.legal_basis ?? [];
  }

  /** @returns {string} */
  nameOf(service) {
    return this.services[service]?.name ?? service;
  }

  /** @returns {string | undefined} the consent text in that language */
  text(service, language) {
    return this.services[service]?.text?.[language];
  }

  /** @returns {string | undefined} the documented call that stops the service */
  stopCall(service) {
    return this.services[service]?.stop?.call;
  }

  /** @returns {string[]} others' domains of a service, without those below another one listed */
  thirdParties(service) {
    const listed = this.services[service]?.domains ?? [];
    const under = (one, other) => one === other || one.endsWith(`.${other}`);
    const above = listed.filter((one) => !listed.some((other) => other !== one && under(one, other)));
    return above.filter((one) => !under(location.hostname, one));
  }
}

/**
 * @param {string} endpoint the origin of ingest
 * @param {string} site
 * @returns {Promise<Rules>} empty rules when there is no answer: what is granted still starts
 */
export async function fetchRules(endpoint, site) {
  try {
    const answer = await fetch(`${endpoint}/v1/sites/${site}/services`, { credentials: "omit" });
    if (!answer.ok) throw new Error(String(answer.status));
    return new Rules((await answer.json()).services);
  } catch (error) {
    console.error("sayso: no rules for the services of this site:", error);
    return new Rules();
  }
}
