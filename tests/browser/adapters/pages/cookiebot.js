// Stands for Cookiebot: the object and events of the vendor's developer page. A click fires ConsentReady, then Accept or
// Decline; so does every later load of a visitor who answered, after CookiebotOnLoad.
import { banner, cookie, keep } from "./banner.js";

const CATEGORIES = ["preferences", "statistics", "marketing"];
const fire = (name) => dispatchEvent(new Event(name));
window.Cookiebot = {
  consent: { necessary: true, preferences: false, statistics: false, marketing: false, method: null, stamp: "0" },
  consented: false,
  declined: false,
  hasResponse: false,
  renew: () => screen.show(),
  withdraw: () => decide([]),
  submitCustomConsent: (...granted) => decide(CATEGORIES.filter((_, index) => granted[index])),
};

function apply(granted, method) {
  const consented = granted.length > 0;
  for (const category of CATEGORIES) window.Cookiebot.consent[category] = granted.includes(category);
  Object.assign(window.Cookiebot.consent, { method, stamp: "c3RhbXA=" });
  Object.assign(window.Cookiebot, { consented, declined: !consented, hasResponse: true });
  fire("CookiebotOnConsentReady");
  fire(consented ? "CookiebotOnAccept" : "CookiebotOnDecline");
}

function decide(granted) {
  keep("CookieConsent", JSON.stringify({ granted, method: "explicit" }));
  apply(granted, "explicit");
}

const screen = banner({
  text: "Ce site utilise des cookies.",
  choices: CATEGORIES,
  shown: () => fire("CookiebotOnDialogDisplay"),
  ids: {
    banner: "CybotCookiebotDialog",
    accept: "CybotCookiebotDialogBodyLevelButtonLevelOptinAllowAll",
    refuse: "CybotCookiebotDialogBodyButtonDecline",
    save: "CybotCookiebotDialogBodyLevelButtonLevelOptinAllowallSelection",
  },
  accept: () => decide(CATEGORIES),
  refuse: () => decide([]),
  save: decide,
});
setTimeout(() => {
  const stored = cookie("CookieConsent");
  fire("CookiebotOnLoad");
  if (stored) apply(JSON.parse(stored).granted, JSON.parse(stored).method);
  else if (new URLSearchParams(location.search).get("consent") === "implied") apply(CATEGORIES, "implied");
  else screen.show();
}, 30);
