// The names a script of this page can see on the device, written as in the log ("cookie:Chatra", "local:key",
// "session:key", "db:name"), and how one is deleted wherever it may lie. Reads and deletes; it never leaves anything.

const AREAS = { local: "localStorage", session: "sessionStorage" };
const EXPIRED = "expires=Thu, 01 Jan 1970 00:00:00 GMT";
/** Sayso's own: the choice, the queue, the visitor key. */
const OWN = /^(cookie|local|session|db):sayso([._]|$)/;
/** Names of databases, as last told: the browser answers only later. */
let databases = [];

/** @returns {Storage | null} null where the browser refuses the page its storage */
function area(name) {
  try {
    return window[AREAS[name]];
  } catch {
    return null;
  }
}

/** @returns {string[]} names of the cookies a script may read */
function cookieNames() {
  return document.cookie.split("; ").map((pair) => pair.split("=")[0]).filter(Boolean);
}

/** Ask the browser for its databases; `list` knows them from then on. */
export async function lookForDatabases() {
  try {
    databases = (await indexedDB.databases()).map((one) => one.name);
  } catch {
    databases = [];
  }
}

/** @returns {Set<string>} every name there is now, but Sayso's own */
export function list() {
  const names = cookieNames().map((name) => `cookie:${name}`);
  for (const kind of Object.keys(AREAS)) {
    names.push(...Object.keys(area(kind) ?? {}).map((key) => `${kind}:${key}`));
  }
  names.push(...databases.map((name) => `db:${name}`));
  return new Set(names.filter((name) => !OWN.test(name)));
}

/** Every place a cookie that this page can see may have been put: its host or a parent, a prefix of its path. */
function* places() {
  const labels = location.hostname.split(".");
  const parents = /^[\d.]+$|:/.test(location.hostname) ? [] : labels.slice(0, -1).map((_, at) => labels.slice(at));
  const domains = ["", ...parents.map((rest) => `; domain=${rest.join(".")}`)];
  const steps = location.pathname.split("/").slice(1);
  const paths = new Set(["/"]);
  steps.forEach((_, at) => {
    const path = `/${steps.slice(0, at + 1).join("/")}`;
    paths.add(path).add(path.endsWith("/") ? path : `${path}/`);
  });
  const secure = location.protocol === "https:" ? "; secure" : "";
  for (const domain of domains) for (const path of paths) yield `; path=${path}${domain}${secure}`;
}

function removeCookie(name) {
  for (const place of places()) {
    document.cookie = `${name}=; ${EXPIRED}${place}`;
    // A partitioned cookie is another cookie under the same name.
    if (place.endsWith("secure")) document.cookie = `${name}=; ${EXPIRED}${place}; partitioned`;
  }
  return !cookieNames().includes(name);
}

/**
 * Delete one name.
 * @param {string} name
 * @returns {"deleted" | "pending" | "out-of-reach"} pending: a database goes once nothing has it open
 */
export function remove(name) {
  const [kind, rest] = [name.slice(0, name.indexOf(":")), name.slice(name.indexOf(":") + 1)];
  if (kind === "cookie") return removeCookie(rest) ? "deleted" : "out-of-reach";
  if (kind === "db") {
    databases = databases.filter((one) => one !== rest);
    indexedDB.deleteDatabase(rest);
    return "pending";
  }
  area(kind)?.removeItem(rest);
  return "deleted";
}

/**
 * Whether a cookie of this name exists that no script may read (HttpOnly): the browser then ignores a script that
 * writes the same one. A name of ours tells a place where cookies are refused anyway. Both are gone before it returns.
 * @param {string} name
 */
export function isHidden(name) {
  const control = `${/^__(Host|Secure)-/.exec(name)?.[0] ?? ""}sayso.probe`;
  const written = (one, place) => {
    const mark = Math.random().toString(36).slice(2);
    document.cookie = `${one}=${mark}${place}; samesite=lax`;
    const seen = document.cookie.split("; ").includes(`${one}=${mark}`);
    // In any case: what was put on a path below this page's is there, though it is not seen here.
    document.cookie = `${one}=; ${EXPIRED}${place}`;
    return seen;
  };
  for (const place of places()) if (written(control, place) && !written(name, place)) return true;
  return false;
}
