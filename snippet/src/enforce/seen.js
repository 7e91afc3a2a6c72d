// Which use a name belongs to that the catalogue does not list: the rule of attribution (docs/enforcement.md).
// Names already there when the page was loaded, or when nothing ran, belong to nobody and are never deleted.

import { pairOf } from "./rules.js";

/** How much of the choice these names may take: it may lie in a cookie. */
const NAMES_MAX = 48;
const CHARACTERS_MAX = 1200;

export class Seen {
  /**
   * @param {Iterable<string>} present names there before anything was started
   * @param {Record<string, string[]>} remembered names by their owners ("chatra/chat-session chatra/chat-history")
   */
  constructor(present, remembered = {}) {
    this.known = new Set(present);
    /** @type {Map<string, string[]>} */
    this.owners = new Map();
    for (const [owners, names] of Object.entries(remembered)) {
      for (const name of names) this.owners.set(name, owners.split(" "));
    }
    this.running = new Set();
    this.started = new Set();
  }

  /** @param {string} key a use that is about to start */
  start(key) {
    this.running.add(key);
    this.started.add(key);
  }

  /** @param {string} key */
  stop(key) {
    this.running.delete(key);
    this.started.delete(key);
  }

  /**
   * 1. A name that holds a running service's name is that service's.
   * 2. Else it is of the uses started since the last look, at which it was missing; 3. else of all that run.
   * @param {Iterable<string>} present
   * @param {(name: string) => boolean} apart names the catalogue lists, or that the site keeps
   */
  look(present, apart) {
    const suspects = [...(this.started.size > 0 ? this.started : this.running)];
    for (const name of present) {
      if (this.known.has(name)) continue;
      this.known.add(name);
      if (apart(name) || this.running.size === 0) continue;
      const lower = name.toLowerCase();
      const named = [...this.running].filter((key) => lower.includes(pairOf(key).service));
      this.owners.set(name, named.length > 0 ? named : suspects);
    }
    this.started.clear();
  }

  /**
   * Whether a name goes when these uses are withdrawn: when no use is left of one of the services that own it.
   * @param {string[]} owners @param {Set<string>} withdrawn
   */
  static goes(owners, withdrawn) {
    const left = owners.filter((key) => !withdrawn.has(key)).map((key) => pairOf(key).service);
    return owners.some((key) => withdrawn.has(key) && !left.includes(pairOf(key).service));
  }

  /** @param {string} name */
  forget(name) {
    this.owners.delete(name);
    this.known.delete(name);
  }

  /** What of it is kept with the choice: names by their owners, as many as there is room for. */
  remembered() {
    /** @type {Record<string, string[]>} */
    const kept = {};
    let room = CHARACTERS_MAX;
    const names = [...this.owners].sort(([one], [other]) => (one < other ? -1 : 1));
    for (const [name, owners] of names.slice(0, NAMES_MAX)) {
      room -= name.length;
      if (room < 0) break;
      (kept[[...owners].sort().join(" ")] ??= []).push(name);
    }
    return kept;
  }
}
