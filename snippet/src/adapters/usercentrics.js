// Usercentrics, version 2 (`UC_UI`) and 3 (`__ucCmp`). `UC_UI_CMP_EVENT` tells the click and, in version 3, `UC_CONSENT`
// what was stored, in either order: the two are one act. `UC_CONSENT` also fires on load, and then only replays.
import { actionOf, keyOf, watchScreen } from "./shared/screen.js";
import { strings } from "./shared/strings.js";

const PLACES = { banner: "#usercentrics-root, #usercentrics-cmp-ui" };
const CLICKS = { ACCEPT_ALL: "accept_all", DENY_ALL: "reject_all", SAVE: "save" };
// Who changed the stored consent, where that was the visitor on this page.
const CHANGES = { onAcceptAllServices: "accept_all", onDenyAllServices: "reject_all", onUpdateServices: "save" };
const CENTRE = ["second", "SECOND_LAYER"];
// How far apart the two events of one click may be, and how long version 2 may take to store it, in milliseconds.
const TOGETHER = 300;

/** Version 3: services by name, from the details of getConsentDetails() and of the event UC_CONSENT. */
function read3({ services }) {
  const optional = Object.values(services ?? {}).filter(({ essential }) => !essential);
  return optional.map(({ name, consent }) => [name, consent?.given]);
}

/** Version 2: the services of getServicesBaseInfo(). */
function read2() {
  const optional = window.UC_UI.getServicesBaseInfo().filter(({ isEssential }) => !isEssential);
  return optional.map(({ name, consent }) => [name, consent.status]);
}

/** Whether a visitor answered, or the platform only assumed. */
function answered2() {
  return window.UC_UI.getServicesBaseInfo().some(({ consent }) => consent.history?.at(-1)?.type === "explicit");
}

function attach(api) {
  const isThree = Boolean(window.__ucCmp);
  let details; // version 3: what is stored, as it was last told
  const spoken = ({ shadowRoot }) => details?.consent?.language ?? shadowRoot?.querySelector("[lang]")?.lang;
  const screen = watchScreen(api, { ...PLACES, language: spoken });
  let known; // what was stored before the click
  let click; // a click whose outcome is still to be read
  let timer;
  let twin = { event: "", until: 0, told: "" }; // the other event of the click that was told

  /** Usercentrics asks for each service by itself, so each is a key of its own: "Google Analytics" is google-analytics. */
  function read() {
    const services = isThree ? read3(details) : read2();
    return services.map(([name, granted]) => ({ key: keyOf(api, name), granted: granted === true }));
  }
  const answered = () => (isThree ? details.consent?.type === "EXPLICIT" : answered2());
  const stored = () => JSON.stringify([answered(), read()]);
  const isReady = () => (isThree ? Boolean(details) : Boolean(window.UC_UI?.isInitialized?.()));

  function isTwin(event) {
    const found = twin.event === event && performance.now() < twin.until && twin.told === JSON.stringify(read());
    if (found) twin.event = "";
    return found;
  }

  /** `other`: the event that is still to come of the same click. */
  function tell(choices, other) {
    clearTimeout(timer);
    const told = { choices, mechanism: "button", signals: strings(), ...click, action: click.action ?? actionOf(choices) };
    click = undefined;
    known = stored();
    twin = { event: other, until: performance.now() + TOGETHER, told: JSON.stringify(choices) };
    api.act(told);
  }

  /** What "all" means needs no reading; what was saved is taken once it is stored, or after the delay. */
  function clicked({ type, source }) {
    if (!CLICKS[type] || (isReady() && isTwin("click"))) return;
    const { shown } = screen.take();
    click = { action: CLICKS[type], element: CENTRE.includes(source) ? "preference_centre" : "banner", shown };
    if (!isReady()) return;
    if (type !== "SAVE") tell(read().map(({ key }) => ({ key, granted: type === "ACCEPT_ALL" })), "change");
    else if (known !== stored()) tell(read(), "change");
    else timer = setTimeout(() => tell(read(), "change"), TOGETHER);
  }

  function changed({ detail }) {
    details = detail;
    const action = CHANGES[detail.consent?.updatedBy];
    if (click) return tell(read(), "");
    if (isTwin("change") || !action || known === undefined || known === stored()) return replay();
    click = { element: "banner", ...screen.take(), action };
    tell(read(), "click");
  }

  function replay() {
    known = stored();
    if (answered()) api.replay({ choices: read(), action: actionOf(read()), mechanism: "button", element: "banner" });
  }

  async function begin() {
    if (isThree) details ??= await window.__ucCmp.getConsentDetails();
    if (isReady() && !click && known === undefined) replay();
  }

  addEventListener("UC_UI_CMP_EVENT", (event) => clicked(event.detail ?? {}));
  if (isThree) addEventListener("UC_CONSENT", changed);
  addEventListener("UC_UI_INITIALIZED", begin);
  addEventListener("pagehide", () => click && isReady() && tell(read(), ""));
  begin();
}

window.sayso.adapter("usercentrics", attach);
