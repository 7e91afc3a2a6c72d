// Didomi. `consent.changed` follows a click that changed something; a click that changes nothing is told by its own event
// alone. A change without a click (synchronised from another device) is no act.
import { actionOf, isGesture, watchScreen } from "./shared/screen.js";
import { strings } from "./shared/strings.js";

const PLACES = { banner: "#didomi-notice", centre: "#didomi-popup, #didomi-consent-popup" };
const CLICKS = {
  "notice.clickagree": ["accept_all", "banner"],
  "notice.clickdisagree": ["reject_all", "banner"],
  "preferences.clickagreetoall": ["accept_all", "preference_centre"],
  "preferences.clickdisagreetoall": ["reject_all", "preference_centre"],
  "preferences.clicksavechoices": ["save", "preference_centre"],
  "preferences.clickvendorsavechoices": ["save", "preference_centre"],
};
// How far apart the two events of one click may be, in milliseconds.
const TOGETHER = 300;

function essential() {
  return window.Didomi.getConfig?.()?.app?.essentialPurposes ?? [];
}

/** Purposes that can be refused: getCurrentUserStatus() since 2023, getUserConsentStatusForAll() before. */
function choicesNow() {
  const status = window.Didomi.getCurrentUserStatus?.();
  const purposes = status
    ? Object.entries(status.purposes ?? {}).map(([id, { enabled }]) => [id, enabled === true])
    : ["enabled", "disabled"].flatMap((answer) =>
        window.Didomi.getUserConsentStatusForAll().purposes[answer].map((id) => [id, answer === "enabled"]),
      );
  return purposes
    .filter(([id]) => !essential().includes(id))
    .map(([id, granted]) => ({ key: String(id), granted }));
}

function signals() {
  const { consent_string: tcf } = window.Didomi.getCurrentUserStatus?.() ?? {};
  return { ...strings(), ...(tcf && { tcf }) };
}

function attach(api) {
  const screen = watchScreen(api, PLACES);
  let click; // [action, element] of a click that nothing followed yet
  let timer;
  let changedAt = -Infinity; // when a change was told whose click is still to come

  function state([action, element] = []) {
    const choices = choicesNow();
    const seen = screen.take();
    return {
      choices,
      action: action ?? actionOf(choices),
      mechanism: "button",
      element: element ?? seen.element ?? "banner",
      shown: seen.shown,
      signals: signals(),
    };
  }

  function tell() {
    clearTimeout(timer);
    const told = state(click);
    click = undefined;
    api.act(told);
  }

  function clicked(what) {
    if (performance.now() - changedAt < TOGETHER) return;
    click = what;
    clearTimeout(timer);
    timer = setTimeout(tell, TOGETHER);
  }

  function changed() {
    if (!click && !isGesture()) return api.replay(state());
    if (!click) changedAt = performance.now();
    tell();
  }

  const listeners = (window.didomiEventListeners ??= []);
  for (const [event, what] of Object.entries(CLICKS)) listeners.push({ event, listener: () => clicked(what) });
  listeners.push({ event: "consent.changed", listener: changed });
  addEventListener("pagehide", () => click && tell());
  (window.didomiOnReady ??= []).push(() => {
    const { Didomi } = window;
    const isOpen = (Didomi.shouldUserStatusBeCollected ?? Didomi.shouldConsentBeCollected)?.call(Didomi) ?? false;
    // Where no law asks for consent nobody was asked, and everything is enabled.
    if (!isOpen && Didomi.isConsentRequired?.() !== false && choicesNow().length) api.replay(state());
  });
}

window.sayso.adapter("didomi", attach);
