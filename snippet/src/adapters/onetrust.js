// OneTrust. `OneTrust.OnConsentChanged` fires when the visitor closes the banner or saves, whatever was chosen: that is
// the act. `OneTrustGroupsUpdated` also fires on load and is left alone; a choice of before is read once, at the start.
import { actionOf, watchScreen } from "./shared/screen.js";
import { strings } from "./shared/strings.js";

const PLACES = {
  banner: "#onetrust-banner-sdk",
  centre: "#onetrust-pc-sdk",
  actions: {
    accept_all: "#onetrust-accept-btn-handler, #accept-recommended-btn-handler",
    reject_all: "#onetrust-reject-all-handler, .ot-pc-refuse-all-handler",
    save: ".save-preference-btn-handler",
    dismiss: ".onetrust-close-btn-handler, .banner-close-button, #close-pc-btn-handler",
  },
};
// What OneTrust names the group of strictly necessary cookies unless the site renames it.
const NECESSARY = "C0001";

function isNecessary(group) {
  return group.CustomGroupId === NECESSARY || /^always active$/i.test(group.Status ?? "");
}

/** Every group that can be refused; `active` is the list of the active ones. */
function choicesOf(active) {
  const groups = window.OneTrust.GetDomainData?.().Groups ?? [];
  return groups
    .map((group) => ({ ...group, CustomGroupId: (group.CustomGroupId ?? group.OptanonGroupId ?? "").trim() }))
    .filter((group) => group.CustomGroupId && !isNecessary(group))
    .map(({ CustomGroupId: id }) => ({ key: id, granted: active.includes(id) }));
}

/** `OnetrustActiveGroups` is ",C0001,C0002,". */
function activeGroups() {
  return String(window.OnetrustActiveGroups ?? "").split(",").filter(Boolean);
}

function attach(api) {
  const screen = watchScreen(api, PLACES);

  function state(active) {
    const choices = choicesOf(active);
    const { shown, element = "banner", action = actionOf(choices) } = screen.take();
    return { choices, action, mechanism: "button", element, shown, signals: strings() };
  }

  if (window.OneTrust.IsAlertBoxClosed?.()) api.replay(state(activeGroups()));
  window.OneTrust.OnConsentChanged((event) => {
    const told = state(Array.isArray(event?.detail) ? event.detail : activeGroups());
    // Who only closes the banner has agreed to nothing, even where the site counts the groups as active.
    if (told.action === "dismiss" && told.choices.some(({ granted }) => granted)) api.replay(told);
    else api.act(told);
  });
}

window.sayso.adapter("onetrust", attach);
