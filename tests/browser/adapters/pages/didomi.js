// Stands for Didomi: the arrays and events of the vendor's documentation. A click fires its own event, then consent.changed,
// which says nothing when nothing changed. ?order=changed-first: the other way round.
import { banner, cookie, keep } from "./banner.js";

const PURPOSES = ["necessary-x", "cookies", "advertising", "analytics"];
const OPTIONAL = PURPOSES.slice(1);
const asked = new URLSearchParams(location.search);
let enabled = cookie("didomi_token") === undefined ? null : JSON.parse(cookie("didomi_token"));
let listeners = window.didomiEventListeners ?? [];
const fire = (name) => listeners.filter(({ event }) => event === name).forEach(({ listener }) => listener({}));

function set(granted) {
  const changed = JSON.stringify(enabled) !== JSON.stringify(granted);
  enabled = granted;
  keep("didomi_token", JSON.stringify(granted));
  if (changed) fire("consent.changed");
}

function decide(granted, click) {
  if (asked.get("order") !== "changed-first") fire(click);
  set(granted);
  if (asked.get("order") === "changed-first") fire(click);
}
// What another device of the same account answered, as Didomi takes it over.
window.synchronise = set;

const screen = banner({
  text: "Avec votre accord, nos partenaires et nous utilisons des cookies.",
  choices: OPTIONAL,
  ids: { banner: "didomi-notice" },
  accept: () => decide(OPTIONAL, "notice.clickagree"),
  refuse: () => decide([], "notice.clickdisagree"),
  save: (granted) => decide(granted, "preferences.clicksavechoices"),
});
setTimeout(() => {
  window.Didomi = {
    getConfig: () => ({ app: { essentialPurposes: ["necessary-x"] } }),
    shouldUserStatusBeCollected: () => enabled === null,
    getCurrentUserStatus: () => ({
      consent_string: "",
      purposes: Object.fromEntries(
        PURPOSES.map((id) => [id, { id, enabled: id === "necessary-x" || (enabled ?? []).includes(id) }]),
      ),
    }),
  };
  listeners = window.didomiEventListeners ??= [];
  const ready = window.didomiOnReady ?? [];
  window.didomiOnReady = { push: (callback) => callback(window.Didomi) };
  ready.forEach((callback) => callback(window.Didomi));
  if (enabled === null) screen.show();
}, 30);
