// c15t 2: what is saved goes through `saveConsents`, then into the store with a new `consentInfo`: told for every save, while
// its own change events keep silent about a first refusal. It draws nothing; the site, or one of its UI packages, does.
import { actionOf, isGesture, watchScreen } from "./shared/screen.js";

const ACTIONS = { all: "accept_all", necessary: "reject_all", custom: "save" };

/** Every category on offer that can be refused. Under an opt-out law nobody consents: people object or do not. */
function choicesOf(state) {
  return state
    .getDisplayedConsents()
    .filter(({ disabled }) => !disabled)
    .map(({ name }) => ({
      key: name,
      granted: state.consents[name] === true,
      ...(state.model === "opt-out" && { legal_basis: "legitimate_interest" }),
    }));
}

function attach(api) {
  const store = window.c15tStore;
  const screen = watchScreen(api, {
    banner: api.config.banner ?? '[data-testid="consent-banner-root"], #consent-banner',
    centre: api.config.centre ?? '[data-testid="consent-dialog-root"], #consent-dialog',
    language(surface) {
      const spoken = surface.closest("body [lang]")?.lang;
      return spoken || store.getState().translationConfig?.defaultLanguage;
    },
  });
  /** @type {{action?: string, gesture?: boolean}} the save under way */
  let saving = {};

  function act(state, action) {
    const { element = "banner", shown } = screen.take();
    api.act({ choices: choicesOf(state), action, mechanism: "button", element, shown });
  }

  const replay = (state, action) => api.replay({ choices: choicesOf(state), action });

  const { saveConsents, ...loaded } = store.getState();
  store.setState({
    saveConsents(type, options) {
      saving = { action: ACTIONS[type], gesture: isGesture() };
      return saveConsents(type, options);
    },
  });
  store.subscribe((state, before) => {
    if (state.consentInfo === before.consentInfo || state.consents === before.consents) return;
    if (!state.consentInfo) isGesture() && act(state, "withdraw");
    else if (saving.gesture) act(state, saving.action);
    else replay(state, saving.action);
  });
  // Without a subject id nobody chose: c15t is switched off and grants everything.
  if (loaded.consentInfo?.subjectId) replay(loaded, actionOf(choicesOf(loaded)));
}

window.sayso.adapter("c15t", attach);
