// vanilla-cookieconsent 3: `cc:onFirstConsent` and `cc:onChange` are acts, `cc:onConsent` alone is a replay on load.
// It is silent when the same choice is made again, so a press of one of its buttons that changed nothing is told as well.
import { isGesture, keyOf, servicesOf, watchScreen } from "./shared/screen.js";

const ACTIONS = {
  accept_all: '#cc-main [data-role="all"], [data-cc="accept-all"]',
  reject_all: '#cc-main [data-role="necessary"], [data-cc="accept-necessary"]',
  save: '#cc-main [data-role="save"], [data-cc="accept-custom"]',
  dismiss: "#cc-main .cm__btn--close",
};
const ACCEPT_TYPES = { all: "accept_all", necessary: "reject_all", custom: "save" };

/** The language of what is drawn, of which nothing tells before an act: the one whose title is on the screen. */
function languageOf(surface) {
  const { translations } = window.CookieConsent.getConfig("language") ?? {};
  const modal = surface.matches(".pm") ? "preferencesModal" : "consentModal";
  const title = surface.querySelector("#cm__title, #pm__title")?.innerHTML;
  const found = Object.entries(translations ?? {}).find(([, words]) => title && words[modal]?.title === title);
  return found?.[0] ?? window.CookieConsent.getCookie("languageCode");
}

/** Every category that can be refused; one with services is told by its services, each under a key of its own. */
function choicesOf(api) {
  const { acceptedCategories, acceptedServices, rejectedServices } = window.CookieConsent.getUserPreferences();
  return Object.entries(window.CookieConsent.getConfig("categories")).flatMap(([category, { readOnly }]) => {
    if (readOnly) return [];
    const accepted = acceptedServices[category] ?? [];
    const services = [...accepted, ...(rejectedServices[category] ?? [])].sort();
    if (!services.length) return [{ key: keyOf(api, category), granted: acceptedCategories.includes(category) }];
    return services.map((service) => ({
      key: keyOf(api, `${category}.${service}`),
      granted: accepted.includes(service),
      services: servicesOf(service),
    }));
  });
}

function attach(api) {
  const cookieConsent = window.CookieConsent;
  const blocks = cookieConsent.getConfig("disablePageInteraction");
  const places = { [blocks ? "modal" : "banner"]: "#cc-main .cm", centre: "#cc-main .pm" };
  const screen = watchScreen(api, { ...places, actions: ACTIONS, language: languageOf });
  let known = false;

  const outcome = () => ACCEPT_TYPES[cookieConsent.getUserPreferences().acceptType];

  function act() {
    known = true;
    const { action = outcome(), element = "banner", shown } = screen.take();
    api.act({ choices: choicesOf(api), action, mechanism: "button", element, shown });
  }

  function replay() {
    known = true;
    api.replay({ choices: choicesOf(api), action: outcome() });
  }

  const changed = () => (isGesture() ? act() : replay());
  /** What was chosen on an earlier page. */
  const loaded = () => !known && cookieConsent.validConsent() && replay();

  addEventListener("cc:onFirstConsent", changed);
  addEventListener("cc:onChange", changed);
  addEventListener("cc:onConsent", loaded);
  // The banner's own handlers are through by now, and what changed has been taken.
  addEventListener("click", () => screen.pressed() && cookieConsent.validConsent() && act());
  loaded();
}

window.sayso.adapter("cookieconsent", attach);
