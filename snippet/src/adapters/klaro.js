// Klaro 0.7: a manager tells `saveConsents` for every save, changed or not; `consents` (each checkbox) and `applyConsents`
// (each load) are no acts. A save by script is an act only while the visitor's own gesture lasts.
import { actionOf, isGesture, keyOf, servicesOf, watchScreen } from "./shared/screen.js";

const ACTIONS = { accept: "accept_all", decline: "reject_all", save: "save", "contextual-accept": "save" };

/** Every service that can be refused. What runs until the visitor objects does not rest on consent. */
function choicesOf(api, { config, consents, confirmed }) {
  return config.services
    .filter((service) => !(service.required ?? config.required))
    .map((service) => {
      const optOut = service.optOut ?? config.optOut;
      return {
        key: keyOf(api, service.name),
        granted: consents[service.name] === true && (confirmed || optOut === true),
        services: servicesOf(service.name),
        ...(optOut && { legal_basis: "legitimate_interest" }),
      };
    });
}

function attach(api) {
  const { klaro } = window;
  /** @type {Set<object>} a page may have several managers, one for each place where choices are kept */
  const watched = new Set();

  function watch(manager) {
    if (watched.has(manager)) return;
    watched.add(manager);
    const root = `[id="${manager.config.elementID ?? "klaro"}"]`;
    const screen = watchScreen(api, {
      placeholder: ".cm-as-context-notice",
      centre: `${root} .cm-modal`,
      modal: `${root} .cookie-modal-notice`,
      banner: `${root} .cookie-notice`,
    });
    let confirmed = manager.confirmed;

    function act(name) {
      const choices = choicesOf(api, manager);
      const { element = "banner", shown } = screen.take();
      api.act({ choices, action: name ?? actionOf(choices), mechanism: "button", element, shown });
    }

    function replay() {
      const choices = choicesOf(api, manager);
      api.replay({ choices, action: actionOf(choices) });
    }

    manager.watch({
      update(_, name, data) {
        if (name === "saveConsents") {
          if (data.type !== "script" || isGesture()) act(ACTIONS[data.type]);
          else replay();
        } else if (name === "consents" && confirmed && !manager.confirmed && isGesture()) act("withdraw");
        if (name !== "applyConsents") ({ confirmed } = manager); // a reset tells that first
      },
    });
    if (confirmed) replay();
  }

  // Klaro tells this for what it has drawn already, too; a site may also keep its banner for later (`noAutoLoad`).
  klaro.addEventListener("render", (config) => void watch(klaro.getManager(config)));
  if (klaro.defaultConfig) watch(klaro.getManager());
}

window.sayso.adapter("klaro", attach);
