// IAB GPP (`__gpp`): opt-outs of the US sections. An act is what follows the CMP's own screen, or a gesture that changes a
// string which was ready; the first ready string of a load replays. The string travels raw, unknown sections included.
import { actionOf, isGesture, watchScreen } from "./shared/screen.js";
import { tcString } from "./shared/strings.js";

const OPT_OUTS = { SaleOptOut: "sale", SharingOptOut: "sharing", TargetedAdvertisingOptOut: "targeted-advertising" };
const OPTED_OUT = [1, "Y"];
const NOT_OPTED_OUT = [2, "N"];

/** The fields of a section, which some CMPs hand out as a list of segments. */
function fieldsOf(section) {
  return Array.isArray(section) ? Object.assign({}, ...section.flat()) : (section ?? {});
}

/** Opt-outs as (not_)objected; a field that does not apply (0, "-") decides nothing. */
function choicesOf(parsedSections) {
  const choices = [];
  for (const [name, section] of Object.entries(parsedSections ?? {})) {
    if (!/^us(nat|pv1|[a-z]{2})$/.test(name)) continue;
    const fields = fieldsOf(section);
    for (const [field, answer] of Object.entries({ ...fields, SaleOptOut: fields.SaleOptOut ?? fields.OptOutSale })) {
      const granted = NOT_OPTED_OUT.includes(answer);
      if (!OPT_OUTS[field] || !(granted || OPTED_OUT.includes(answer))) continue;
      choices.push({ key: `gpp-${name}-${OPT_OUTS[field]}`, granted, legal_basis: "legitimate_interest" });
    }
  }
  return choices;
}

/** Whether a section says that the browser sent Global Privacy Control. */
function saysGpc(parsedSections) {
  return Object.values(parsedSections ?? {}).some((section) => fieldsOf(section).Gpc === true);
}

/** Where nobody answered, the string says "did not opt out", or what Global Privacy Control set: that is nobody's choice. */
function isAnswer(choices, parsedSections) {
  return choices.some(({ granted }) => !granted) && !navigator.globalPrivacyControl && !saysGpc(parsedSections);
}

function attach(api) {
  const screen = watchScreen(api, { banner: api.config.banner });
  let displayed = false;
  let known; // the last string that was ready on this page
  let ping;
  let timer;

  function signals() {
    return { tcf: tcString(), gpp: ping.gppString, ...(saysGpc(ping.parsedSections) && { gpc: true }) };
  }

  function settle() {
    clearTimeout(timer);
    timer = undefined;
    const choices = choicesOf(ping.parsedSections);
    const isAct = displayed || (known !== undefined && known !== ping.gppString && isGesture());
    known = ping.gppString;
    displayed = false;
    const { element = "banner", shown } = screen.take();
    const state = { choices, action: actionOf(choices), mechanism: "button", element, shown, signals: signals() };
    if (isAct && choices.length) api.act(state);
    else if (isAnswer(choices, ping.parsedSections)) api.replay(state);
    else api.replay({ ...state, choices: [] }); // only the string
  }

  // A CMP that stays ready tells its sections one after the other: they are one act.
  function settleSoon() {
    timer ??= setTimeout(settle, 0);
  }
  addEventListener("pagehide", () => timer !== undefined && settle());

  window.__gpp("addEventListener", (event, success) => {
    if (!success || !event?.pingData) return;
    ping = event.pingData;
    if (ping.cmpDisplayStatus === "visible") displayed = true;
    if (!ping.gppString || ping.signalStatus !== "ready") return;
    if (event.eventName === "signalStatus") settle();
    else if (event.eventName === "sectionChange") settleSoon();
    else if (event.eventName === "listenerRegistered") settle();
  });
}

window.sayso.adapter("gpp", attach);
