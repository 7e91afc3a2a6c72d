// Cookiebot. `CookiebotOnAccept` and `CookiebotOnDecline` fire for a click, and on every load of a visitor who answered
// before: an answer that follows the dialog, or that differs from the one known, is an act. An implied consent is nothing.
import { actionOf, watchScreen } from "./shared/screen.js";
import { strings } from "./shared/strings.js";

const DIALOG = "#CybotCookiebotDialog";
const PLACES = {
  banner: DIALOG,
  actions: {
    accept_all: "#CybotCookiebotDialogBodyLevelButtonLevelOptinAllowAll, #CybotCookiebotDialogBodyButtonAccept",
    reject_all: "#CybotCookiebotDialogBodyButtonDecline",
    save: "#CybotCookiebotDialogBodyLevelButtonLevelOptinAllowallSelection",
  },
};
const CATEGORIES = ["preferences", "statistics", "marketing"];

function choicesNow() {
  return CATEGORIES.map((key) => ({ key, granted: window.Cookiebot.consent[key] === true }));
}

function answeredBefore() {
  return window.Cookiebot.hasResponse === true || /(^|; )CookieConsent=/.test(document.cookie);
}

function attach(api) {
  const screen = watchScreen(api, PLACES);
  let dialog = document.querySelector(DIALOG)?.getClientRects().length > 0;
  // null: nobody answered yet. undefined: somebody did, and Cookiebot is still reading what.
  let known = answeredBefore() ? undefined : null;
  const spelled = (choices) => JSON.stringify(choices);

  function state() {
    const choices = choicesNow();
    const { shown, element = "banner", action = actionOf(choices) } = screen.take();
    return { choices, action, mechanism: "button", element, shown, signals: strings() };
  }

  function answered() {
    if (window.Cookiebot.consent.method === "implied") return; // nobody was asked
    const told = state();
    const isAct = dialog || (known !== undefined && known !== spelled(told.choices));
    dialog = false;
    known = spelled(told.choices);
    if (isAct) api.act(told);
    else api.replay(told);
  }

  addEventListener("CookiebotOnDialogDisplay", () => (dialog = true));
  addEventListener("CookiebotOnAccept", answered);
  addEventListener("CookiebotOnDecline", answered);
  if (window.Cookiebot.hasResponse === true && !dialog) answered();
}

window.sayso.adapter("cookiebot", attach);
