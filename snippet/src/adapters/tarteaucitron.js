// tarteaucitron: `tac.consent_updated` is told once a service, for visitors' clicks and for its own work on load alike. What
// one click changes is told together, when its handler is through. A click on a service takes effect at once: an act each.
import { actionOf, isGesture, keyOf, servicesOf, watchScreen } from "./shared/screen.js";

const PLACES = {
  placeholder: ".tac_activate",
  centre: "#tarteaucitron",
  modal: '#tarteaucitronAlertBig[aria-modal="true"]',
  banner: "#tarteaucitronAlertBig",
  actions: {
    accept_all: "#tarteaucitronPersonalize2, #tarteaucitronAllAllowed",
    reject_all: "#tarteaucitronAllDenied, #tarteaucitronAllDenied2",
    save: ".tarteaucitronAllow, .tarteaucitronDeny",
  },
  counters: ".tarteaucitronStatusInfo, [id^=tarteaucitronCounter], [id^=tarteaucitronCookiesNumber], #tarteaucitronCookiesList",
};
const SAVE = "#tarteaucitronSaveButton";

/** The answers in its cookie; a service that waits for one is left out, and one that needs no consent can be objected to. */
function choicesOf(api) {
  const { cookie, job, services } = window.tarteaucitron;
  const answers = new Map([...cookie.read().matchAll(/!([^=!]+)=(true|false)/g)].map(([, key, answer]) => [key, answer]));
  return (job ?? [])
    .map((name) => services[name])
    .filter((service) => answers.has(service?.key))
    .map(({ key, needConsent }) => ({
      key: keyOf(api, key),
      granted: answers.get(key) === "true",
      services: servicesOf(key),
      ...(!needConsent && { legal_basis: "legitimate_interest" }),
    }));
}

/** Whether it answers for visitors who have not: then its cookie is no sign of a choice. */
function answersByItself() {
  const { parameters, user } = window.tarteaucitron;
  const { handleBrowserDNTRequest, serviceDefaultState = "wait" } = parameters;
  return handleBrowserDNTRequest || serviceDefaultState !== "wait" || user.bypass === true;
}

function attach(api) {
  const screen = watchScreen(api, PLACES);
  /** @type {Map<string, boolean>} */
  let known = new Map();
  let settling = false;
  let acted = false; // since the panel was opened: its save button then only closes it

  // Services that need no consent are switched on by themselves: then, and as long as they stand alone, nobody chose anything.
  const isChosen = ({ granted, legal_basis }) => !legal_basis || !granted;
  const isNew = (choice) => (known.has(choice.key) ? known.get(choice.key) !== choice.granted : isChosen(choice));

  function act(choices) {
    if (!choices.some(isChosen)) return;
    acted = true;
    const { action = actionOf(choices), element = "banner", shown } = screen.take();
    api.act({ choices, action, mechanism: "button", element, shown });
  }

  function settle() {
    settling = false;
    const choices = choicesOf(api);
    const news = choices.some(isNew);
    known = new Map(choices.map(({ key, granted }) => [key, granted]));
    if (!news) return;
    if (isGesture()) act(choices);
    else if (!answersByItself()) api.replay({ choices, action: actionOf(choices) });
  }

  function settleSoon() {
    if (!settling) queueMicrotask(settle);
    settling = true;
  }

  document.addEventListener("tac.consent_updated", settleSoon);
  addEventListener("tac.open_panel", () => (acted = false));
  // The same choice again changes nothing, and tarteaucitron is silent.
  addEventListener("click", (event) => {
    const closes = acted && event.target instanceof Element && event.target.closest(SAVE);
    if (screen.pressed() && !closes) act(choicesOf(api));
  });
  // On load its services are added after this event, or all have been by now.
  addEventListener("tac.root_available", () => setTimeout(settle));
  if (document.getElementById("tarteaucitronRoot")) settle();
}

window.sayso.adapter("tarteaucitron", attach);
