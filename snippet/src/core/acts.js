// From an act to the queue, all of it synchronous: what kind of event it is, who it is of, and what stays on the device.
// Invariant: before the first act nothing is stored, no identifier exists and nothing is posted.

import { config, says } from "./config.js";
import { emit } from "./hooks.js";
import { uuid7, visitorId, visitorKey } from "./ids.js";
import { enqueue, flush } from "./queue.js";
import { CHOICE, VISITOR, read, write } from "./storage.js";

/**
 * @typedef {{purpose: string, decision: string, legal_basis: string, services?: string[]}} Decision
 * @typedef {{at: string, choices: Decision[], banner?: string, gpc?: true, enforce?: any}} Choice `banner`: hash of the last state it told
 * @typedef {{notice?: any, captured?: boolean, mechanism?: string, element?: string, action?: string, identifiers?: any[],
 *   receipt?: boolean, signals?: any, age?: {over: boolean}, banner?: string, observed?: boolean}} Circumstances
 */

/** One answer as the schema has it: only consent is granted. @returns {Decision} */
export const decide = ({ purpose, granted, decision, legal_basis = "consent", services }) => ({
  purpose,
  decision: decision || (legal_basis === "consent" ? (granted ? "granted" : "denied") : granted ? "not_objected" : "objected"),
  legal_basis,
  services,
});

/** @param {Decision} [decision] */
export const permits = (decision) => /^(granted|not_objected)$/.test(decision?.decision);
/** Whether two answers are about the same; one without services is about all of them. @param {Decision} a */
const about = (a) => (b) =>
  a.purpose === b.purpose &&
  a.legal_basis === b.legal_basis &&
  (!a.services || !b.services || a.services.some((service) => b.services.includes(service)));
const gpc = () => navigator.globalPrivacyControl === true || undefined;

/** @type {{removing?: (back: Decision[]) => {deleted: string[], left: string[]}}} */
let enforcer = {};
/** @returns what enforcement remembers, inside the choice, and how it changes that: never before an act */
export const setEnforcer = (hooks) => {
  enforcer = hooks;
  return { read: () => choice()?.enforce, write: (enforce) => choice() && write(CHOICE, { ...choice(), enforce }) };
};

/** @returns {Choice | null} */
export const choice = () => read(CHOICE);

/** What the banner says again on load is an act only if it tells something new. @param {Decision[]} decisions */
export const isKnown = (decisions) => {
  const known = choice()?.choices || [];
  return decisions.every((d) => known.some((k) => about(d)(k) && k.decision === d.decision));
};

/**
 * 1. What changed, and so the type; 2. whose it is: a key is made only when something is granted or a receipt is wanted;
 * 3. what enforcement removes; 4. keep the choice; 5. queue the event; 6. without a grant, forget the key; 7. tell.
 * @param {Decision[]} decisions @param {Circumstances} how @returns {string} the event's id
 */
export function commit(decisions, how) {
  const before = choice();
  const known = before?.choices || [];
  const grants = decisions.some((d) => d.decision === "granted");
  // Where nothing rests on consent (opt-outs of the United States), not to object is the answer yes.
  const isYes = decisions.some((d) => d.legal_basis === "consent") ? (d) => d.decision === "granted" : permits;
  const changes = (d) => known.some((k) => about(d)(k) && permits(k) !== permits(d));
  const changed = decisions.filter(changes);
  const back = changed.filter((d) => !permits(d));
  const fresh = decisions.some((d) => isYes(d) && (changes(d) || !known.some(about(d))));
  let type = "refused";
  if (how.observed) type = "observed";
  else if (fresh) type = "given";
  else if (back[0]) type = "withdrawn";
  else if (decisions.some(isYes)) type = "renewed";

  let visitor = read(VISITOR);
  const receipt = how.receipt || says("receipt") || visitor?.receipt || undefined;
  if (!visitor && (grants || receipt)) visitor = { key: visitorKey() };
  if (visitor) write(VISITOR, (visitor = { ...visitor, receipt }));

  const removal = back[0] && enforcer.removing?.(back);

  // An observed grant is no act of ours: it does not undo a denial that we saw.
  const kept = decisions.filter((d) => !how.observed || !permits(d) || !known.some(about(d)));
  const choices = [...known.flatMap((k) => without(k, kept.filter(about(k)))), ...kept];
  const at = new Date().toISOString();
  write(CHOICE, { ...choice(), at, choices, banner: how.banner || before?.banner, gpc: gpc() });

  const event = makeEvent("consent." + type, at, visitor, how.identifiers, {
    decisions: type === "withdrawn" ? changed : decisions,
    ...words(how),
    signals: { gpc: gpc(), ...how.signals },
    age: how.age,
    removal: removal?.deleted[0] || removal?.left[0] ? removal : undefined,
  });
  enqueue([event, ...gpcEvents(before, at, visitor)]);
  if (visitor && !receipt && !choices.some((d) => d.decision === "granted")) write(VISITOR, null);
  flush();
  tell(event.type);
  return event.id;
}

/** What is left of an earlier answer: the services that no new one is about. @param {Decision} k @param {Decision[]} newer */
function without(k, newer) {
  const services = k.services?.filter((service) => newer.every((d) => d.services && !d.services.includes(service)));
  if (!newer[0]) return [k];
  return services?.[0] ? [{ ...k, services }] : [];
}

/** The notice that was shown and how the act was made. @param {Circumstances} about */
function words({ notice, captured, mechanism = "button", element, action }) {
  const { sha256, language, requested_language, token, text } = notice || {};
  return {
    notice: notice && { sha256, language, token, requested_language: requested_language !== language ? requested_language : undefined },
    capture: { mechanism, element, action, words: notice && !token && (captured || text != null) ? "captured" : undefined },
  };
}

/** The signal is logged when it appears, and only after an act; that it went away is no signal. */
const gpcEvents = (before, at, visitor) =>
  gpc() && !before?.gpc
    ? [makeEvent("signal.gpc", at, visitor, [], { capture: { mechanism: "gpc" }, signals: { gpc: true } })]
    : [];

/** On load, after an act: whether the signal changed meanwhile. */
export function watchGpc() {
  const before = choice();
  if (before && before.gpc !== gpc()) {
    write(CHOICE, { ...before, gpc: gpc() });
    enqueue(gpcEvents(before, new Date().toISOString(), read(VISITOR)));
  }
}

/** One CloudEvent. @param {string} type @param {string} time @param {any} visitor @param {any[]} others identifiers @param {any} data */
function makeEvent(type, time, visitor, others = [], data) {
  const identifiers = [...(visitor ? [{ type: "cookie", value: visitorId(visitor.key) }] : []), ...others];
  return {
    specversion: "1.0",
    id: uuid7(),
    source: "/sites/" + config.site,
    type,
    time,
    visitorkey: visitor?.key,
    data: {
      subject: identifiers[0] && { identifiers },
      ...data,
      context: { page: location.pathname.slice(0, 512), device: device(navigator.userAgent) },
    },
  };
}

const device = (agent) => (/Mobi/.test(agent) ? "mobile" : /iPad|Android|Tablet/.test(agent) ? "tablet" : "desktop");

/** @param {string} [type] of the event; absent when the page has just been loaded */
export function tell(type) {
  const { at, choices } = choice();
  window.dataLayer?.push({ event: "sayso_choice", sayso: Object.fromEntries(choices.map((d) => [d.purpose, d.decision])) });
  if (type) emit("choice", { type, at, choices });
}

/** An account is tied to this visitor, or no longer. @param {any} identifier @param {"linked" | "ended"} state @param {string} [identity] */
export function sendLink(identifier, state, identity) {
  const visitor = read(VISITOR);
  if (!visitor || !identifier) return;
  write(VISITOR, { ...visitor, link: state === "linked" ? identifier : undefined });
  const event = makeEvent("identity.linked", new Date().toISOString(), visitor, [identifier], { link: { state } });
  enqueue([{ ...event, identity }]);
  flush();
  return event.id;
}
