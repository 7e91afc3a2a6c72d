// Enforcement in the page, per service and use: what is marked runs while its use is granted, and what a withdrawn use
// left is deleted. It stores nothing itself: what it must remember lies inside the choice, so never before an act.

import * as elements from "./elements.js";
import { erase } from "./erase.js";
import { pack, settle, takeOver } from "./memory.js";
import * as names from "./names.js";
import { Placeholder, hide } from "./placeholder.js";
import { Rules, fetchRules, keyOf, pairOf } from "./rules.js";
import { Seen } from "./seen.js";
import { languageOf } from "./texts.js";

/** How often names are looked at while something runs, in milliseconds. */
const LOOK_MS = 2000;
/** How long a reload waits for the event to be sent; it lies in the queue anyway. */
const RELOAD_MS = 1000;

export class Enforcer {
  constructor(sayso) {
    this.sayso = sayso;
    this.rules = new Rules();
    this.kept = sayso.enforcer({ removing: (decisions) => this.removing(decisions) });
    const { ran = [], gone = {}, seen = {} } = this.kept.read() ?? {};
    /** Uses that were started in this browser, on whatever page. */
    this.ran = new Set(ran);
    /** Names deleted at a withdrawal, by use: deleted again before the service can load. */
    this.gone = gone;
    for (const name of Object.values(gone).flat()) names.remove(name);
    this.seen = new Seen(names.list(), seen);
    /** @type {Map<Element, {key: string, blocked: Element}>} */
    this.started = new Map();
    /** @type {Map<Element, Placeholder>} */
    this.places = new Map();
    /** @type {Map<string, Promise<void>>} scripts of one service run in the order of the document */
    this.queues = new Map();
    this.wrong = new WeakSet();
    this.reload = false;
  }

  /** 1. Old leftovers are gone (constructor). 2. Rules. 3. What is refused is swept. 4. What is allowed starts. */
  async begin() {
    const { endpoint, site } = this.sayso.config;
    [this.rules] = await Promise.all([fetchRules(endpoint, site), names.lookForDatabases()]);
    this.seen.look(names.list(), () => true);
    this.sayso.on("choice", () => this.choice());
    new MutationObserver((records) => this.changed(records)).observe(document.documentElement, {
      subtree: true,
      childList: true,
      attributeFilter: ["data-sayso-service", "data-sayso-use", "data-src"],
    });
    window.addEventListener("pagehide", () => this.tick());
    window.addEventListener("storage", ({ key }) => key === "sayso" && this.choice());
    setInterval(() => this.seen.running.size > 0 && names.lookForDatabases().then(() => this.tick()), LOOK_MS);
    this.choice();
  }

  /**
   * The visitor's last word on a use: a placeholder that was opened after a refusal, a refusal after it was opened.
   * @param {string} key @returns {boolean | undefined} undefined if nothing was said
   */
  word(key) {
    const { service, use } = pairOf(key);
    const about = (one) => one.purpose === use && (one.services === undefined || one.services.includes(service));
    const last = this.sayso.choices().filter(about).pop();
    return last && ["granted", "not_objected"].includes(last.decision);
  }

  /** @param {string} key */
  granted(key) {
    return this.word(key) === true;
  }

  /** @param {string} key what was denied, or needs consent that is not there */
  refused(key) {
    return !this.granted(key) && (this.rules.bases(key).includes("consent") || this.word(key) === false);
  }

  /** Granted; or the element says on which basis it runs before a choice, the catalogue agrees, and nobody objected. */
  allowed(key, element) {
    if (this.granted(key)) return true;
    const basis = element.dataset.saysoBefore;
    const bases = this.rules.bases(key);
    if (!bases.includes(basis) || bases.includes("consent") || this.word(key) === false) return false;
    return basis !== "legitimate_interest" || navigator.globalPrivacyControl !== true;
  }

  changed(records) {
    const marked = (node) =>
      node.nodeType === Node.ELEMENT_NODE && (node.matches(elements.MARKED) || node.querySelector(elements.MARKED));
    if (records.some(({ type, addedNodes }) => type === "attributes" || [...addedNodes].some(marked))) this.apply();
  }

  /** Start every marked element whose use is allowed, and offer the others. */
  apply() {
    const starting = [];
    for (const element of document.querySelectorAll(elements.MARKED)) {
      if (this.started.has(element) || this.wrong.has(element)) continue;
      if (elements.complain(element)) {
        this.wrong.add(element);
        continue;
      }
      const key = keyOf(element.dataset.saysoService, element.dataset.saysoUse);
      if (this.allowed(key, element)) starting.push([element, key]);
      else this.offer(element, key);
    }
    if (starting.length === 0) return;
    this.look();
    for (const [element, key] of starting) this.start(element, key);
  }

  offer(element, key) {
    const { service, use } = pairOf(key);
    const wanted = element.localName === "iframe" && element.dataset.saysoPlaceholder !== "none";
    if (this.places.has(element) || !(wanted || elements.isPlace(element))) return;
    const language = languageOf(this.sayso.config.language ?? document.documentElement.lang);
    const words = { language, name: this.rules.nameOf(service), text: this.rules.text(service, language) };
    // The click is asked for and given, whatever basis the catalogue sees for the use: storing on a device needs it.
    const open = (box, read) =>
      this.sayso.record({
        decisions: [{ purpose: use, granted: true, legal_basis: "consent", services: [service] }],
        notice: this.sayso.capture(box, read),
        mechanism: "button",
        element: "placeholder",
      });
    this.places.set(element, new Placeholder(element, words, open));
  }

  start(element, key) {
    this.started.set(element, { key, blocked: element });
    this.places.get(element)?.remove();
    this.places.delete(element);
    if (elements.isPlace(element)) {
      hide(element, true);
      return;
    }
    this.seen.start(key);
    this.ran.add(key);
    if (!elements.isScript(element)) {
      elements.startMedia(element);
      return;
    }
    const { service } = pairOf(key);
    if (element.hasAttribute("async")) this.run(element, key);
    else this.queues.set(service, (this.queues.get(service) ?? Promise.resolve()).then(() => this.run(element, key)));
  }

  async run(blocked, key) {
    // Withdrawn while it waited for the script before it.
    if (!this.started.delete(blocked)) return;
    const { live, ready } = elements.startScript(blocked);
    this.started.set(live, { key, blocked });
    await ready;
    this.tick();
  }

  look() {
    const keep = (this.sayso.config.keep ?? "").split(/[\s,]+/).filter(Boolean);
    const kept = (name) => keep.some((one) => (one.endsWith("*") ? name.startsWith(one.slice(0, -1)) : name === one));
    const apart = (name) => this.rules.owners(name).length > 0 || kept(name.slice(name.indexOf(":") + 1));
    this.seen.look(names.list(), apart);
  }

  tick() {
    this.look();
    this.sweep();
    this.remember();
  }

  /** Uses whose names this browser may hold. */
  traces() {
    return [...this.ran, ...Object.keys(this.gone), ...[...this.seen.owners.values()].flat()];
  }

  /** Services this page or this browser has had to do with: names of others are not ours to touch. */
  services() {
    const marked = [...document.querySelectorAll(elements.MARKED)].map((element) => element.dataset.saysoService);
    return new Set([...this.traces().map((key) => pairOf(key).service), ...marked]);
  }

  /** Delete what was written again after a withdrawal, and what a running service writes for a use that was refused. */
  sweep() {
    const again = new Set(Object.values(this.gone).flat());
    const services = this.services();
    const unwanted = (key) => services.has(pairOf(key).service) && this.refused(key);
    for (const name of names.list()) {
      const owners = this.rules.owners(name);
      if (again.has(name) || (owners.length > 0 && owners.every(unwanted))) names.remove(name);
    }
  }

  remember() {
    const stored = this.kept.read();
    takeOver(this, stored);
    const value = pack(this);
    if (JSON.stringify(value) !== JSON.stringify(stored)) this.kept.write(value);
  }

  /**
   * The hook: stop and delete before the withdrawal is queued, and tell what became of it. A mistake here must not lose
   * the withdrawal.
   * @param {{purpose: string, services?: string[]}[]} back what is taken back
   */
  removing(back) {
    try {
      const known = [...this.rules.keys(), ...this.traces()].map(pairOf);
      const servicesOf = (use) => known.filter((pair) => pair.use === use).map((pair) => pair.service);
      const keys = ({ purpose, services = servicesOf(purpose) }) => services.map((service) => keyOf(service, purpose));
      return this.end(new Set(back.flatMap(keys)));
    } catch (error) {
      console.error(error);
      return undefined;
    }
  }

  /** @param {Set<string>} keys */
  end(keys) {
    this.look();
    this.stop(keys);
    const removed = erase(this, keys);
    keys.forEach((key) => this.ran.delete(key));
    return removed;
  }

  stop(keys) {
    const ran = new Set();
    for (const [element, { key, blocked }] of this.started) {
      if (!keys.has(key)) continue;
      this.started.delete(element);
      if (elements.isScript(element)) {
        if (element !== blocked) ran.add(key);
        element.replaceWith(blocked);
      } else if (!elements.isPlace(element)) {
        elements.takeBackMedia(element);
      }
    }
    keys.forEach((key) => this.seen.stop(key));
    const services = new Set([...ran].map((key) => pairOf(key).service));
    const of = (service) => [...ran].filter((key) => pairOf(key).service === service);
    for (const service of services) this.stopScripts(service, of(service));
  }

  /** A script that ran cannot be taken out: its own call stops it, or the site, or else the page is loaded again. */
  stopScripts(service, keys) {
    const others = [...this.seen.running].some((key) => pairOf(key).service === service);
    const path = this.rules.stopCall(service);
    if (!others && path !== undefined && elements.call(path)) return;
    for (const key of keys) {
      const event = new CustomEvent("sayso:stop", { detail: pairOf(key), cancelable: true });
      if (document.dispatchEvent(event)) this.reload = true;
    }
  }

  /** After every choice, in this tab or another: forget what is granted again, end what is not, start what is. */
  choice() {
    const running = [...this.started.values()].filter(({ key, blocked }) => !this.allowed(key, blocked));
    const owners = [...this.seen.owners.values()].flat().filter((key) => this.refused(key));
    const lost = new Set([...running.map(({ key }) => key), ...owners]);
    if (lost.size > 0) this.end(lost);
    settle(this);
    this.sweep();
    this.apply();
    this.remember();
    if (this.reload) this.loadAgain();
  }

  loadAgain() {
    this.reload = false;
    let done = false;
    const go = () => {
      if (!done) location.reload();
      done = true;
    };
    this.sayso.on("sent", go);
    setTimeout(go, RELOAD_MS);
  }
}
