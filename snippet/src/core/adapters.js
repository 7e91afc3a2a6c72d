// Banners: found by what they put on window, each read by its own bundle, which is loaded only then and under its hash.
// Every act is told by one banner: its own adapter goes before TCF, GPP and Consent Mode, which then only add their strings.

import { choice, commit, decide, isKnown } from "./acts.js";
import { config, says } from "./config.js";
import { FOUND, GENERIC } from "./found.js";
import { hex } from "./ids.js";
import { sha256 } from "./sha256.js";
import { capture } from "./words.js";

/* global __VERSION__, __HASHES__ */

const LOOKS = 40;
const LATE = 12; // 3 s
const names = Object.keys(FOUND);
/** @type {Set<string>} */
const loaded = new Set();
let leader = names.length;
let looks = 0;
let found = false;
/** @type {Record<string, any>} raw strings of TCF and GPP */
const signals = {};
/** @type {import("./words.js").Words | undefined} */
let lastShown;
/** The words that an adapter read last. */
export const shown = () => lastShown;

function look() {
  names.forEach((name, rank) => {
    if (loaded.has(name) || !FOUND[name](looks > LATE && !found, config, choice())) return;
    loaded.add(name);
    if (name !== "enforce") found = true;
    if (!GENERIC.includes(name)) leader = Math.min(leader, rank);
    load(name === "enforce" ? name : "adapter-" + name, __HASHES__[rank]);
  });
}

/** Poll for 10 s, because most banners put their global on window late. */
export function watch() {
  look();
  document.addEventListener("DOMContentLoaded", look);
  const timer = setInterval(() => {
    look();
    if (++looks > LOOKS) clearInterval(timer);
  }, 250);
}

/** @param {string} file @param {string} hash SHA-256 in base64 without padding */
function load(file, hash) {
  const script = document.createElement("script");
  script.src = `${config.endpoint}/s/${__VERSION__}/${file}.js`;
  script.integrity = `sha256-${hash}=`;
  script.crossOrigin = "anonymous";
  if (config.nonce) script.nonce = config.nonce;
  document.head.append(script);
}

/** @param {string} name @param {(api: any) => void} attach called at once, with what the adapter may do */
export function adapter(name, attach) {
  /** @type {import("./words.js").Words | undefined} */
  let words;
  const tells = (state) => {
    Object.assign(signals, state.signals);
    const rank = names.indexOf(name);
    if (rank > leader) return [];
    leader = rank;
    return toDecisions(state.choices);
  };
  const about = (state, banner) => ({ ...state, notice: state.shown || words, captured: true, signals: { ...signals }, banner });
  attach({
    config,
    language: config.language,
    shown: (source, language) => (lastShown = words = capture(source, language)),
    act(state) {
      const decisions = tells(state);
      return decisions[0] && commit(decisions, about(state, nameOf(decisions)));
    },
    replay(state) {
      const decisions = tells(state);
      const banner = nameOf(decisions);
      if (!decisions[0] || choice()?.banner === banner || isKnown(decisions)) return;
      return commit(decisions, { ...about(state, banner), observed: true, mechanism: "script" });
    },
  });
}

const nameOf = (decisions) => hex(sha256(decisions.map((d) => Object.values(d).join()).sort().join())).slice(0, 16);

/** The banner's keys as purposes. Two keys of one purpose: granted only if both are. @param {any[]} choices */
function toDecisions(choices) {
  /** @type {Record<string, any>} */
  const found = {};
  for (const { key, granted, legal_basis, services } of choices) {
    for (const to of [key in config.map ? config.map[key] : key.toLowerCase()].flat()) {
      const answer = { legal_basis, services, ...(to?.purpose ? to : { purpose: to }), granted };
      if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(answer.purpose) || to === null) continue;
      const place = [answer.purpose, answer.legal_basis, answer.services].join();
      if (found[place]) answer.granted &&= found[place].granted;
      found[place] = answer;
    }
  }
  return Object.values(found).map(decide);
}
