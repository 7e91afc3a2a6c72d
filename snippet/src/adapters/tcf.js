// IAB TCF 2.2 and later (`__tcfapi`). Only `useractioncomplete` is an act; `tcloaded` replays; gdprApplies=false is nothing.
// The TC string travels raw, so that a segment or version unknown here is kept as it came.
import { actionOf, watchScreen } from "./shared/screen.js";
import { gppString } from "./shared/strings.js";

const PURPOSES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
// The purposes for which the policies allow a legitimate interest (since policy version 4: not 1 and 3 to 6).
const INTERESTS = [2, 7, 8, 9, 10, 11];
const SPECIAL_FEATURES = [1, 2];
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * Language, vendor list version and policy version, from the core segment: every field used here starts and ends at
 * a character of 6 bits (language at 18 and 19, list at 20 and 21, policy at 22).
 */
function header(tcString) {
  const at = (index) => ALPHABET.indexOf(tcString[index]);
  return {
    language: String.fromCharCode(97 + at(18), 97 + at(19)),
    vendorList: at(20) * 64 + at(21),
    policy: at(22),
  };
}

/** The decisions of one TC data object. A bit that is not there is a bit that is not set. */
function choicesOf(tcData) {
  const { consents = {}, legitimateInterests = {} } = tcData.purpose ?? {};
  const asked = tcData.purposeOneTreatment ? PURPOSES.slice(1) : PURPOSES; // then purpose 1 was not put to the visitor
  return [
    ...asked.map((id) => ({ key: `tcf-${id}`, granted: consents[id] === true, legal_basis: "consent" })),
    ...INTERESTS.map((id) => ({
      key: `tcf-${id}`,
      granted: legitimateInterests[id] === true,
      legal_basis: "legitimate_interest",
    })),
    ...SPECIAL_FEATURES.map((id) => ({
      key: `tcf-sf-${id}`,
      granted: tcData.specialFeatureOptins?.[id] === true,
      legal_basis: "consent",
    })),
  ];
}

/** The words of the framework itself, where no banner element is told: named by the list and policy that hold them. */
function wordsOfTheFramework(api, tcString) {
  const { language, vendorList, policy } = header(tcString);
  return api.shown(`tcf/gvl/${vendorList}/policy/${policy}`, language);
}

function attach(api) {
  const screen = watchScreen(api, { banner: api.config.banner });
  let acted; // the TC string of the last act; the same one again without the banner in between is no act

  window.__tcfapi("addEventListener", 2, (tcData, success) => {
    if (!success || !tcData) return;
    if (tcData.eventStatus === "cmpuishown") acted = undefined;
    if (tcData.gdprApplies === false || !tcData.tcString) return;
    const { tcString: current } = tcData;
    const choices = choicesOf(tcData);
    const signals = { tcf: current, gpp: gppString() };
    const state = { choices, action: actionOf(choices), mechanism: "button", signals };
    if (tcData.eventStatus === "tcloaded") {
      api.replay({ ...state, element: "banner" });
    } else if (tcData.eventStatus === "useractioncomplete" && current !== acted) {
      acted = current;
      const { element = "banner", shown = wordsOfTheFramework(api, current) } = screen.take();
      api.act({ ...state, element, shown });
    }
  });
}

window.sayso.adapter("tcf", attach);
