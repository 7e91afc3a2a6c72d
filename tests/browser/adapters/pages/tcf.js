// A very small but real TCF CMP, made of IAB Tech Lab's own packages: stub, CmpApi and TCModel.
// ?tcf=2.2 makes strings of the core segment alone; without it they carry the disclosed vendors, as 2.3 asks.
// ?gdpr=no says that the regulation does not apply.
import stub from "@iabtechlabtcf/stub";
import { CmpApi } from "@iabtechlabtcf/cmpapi";
import { GVL, Segment, TCModel, TCString } from "@iabtechlabtcf/core";
import vendorList from "./gvl.json";
import { banner, cookie, keep } from "./banner.js";

stub();
const asked = new URLSearchParams(location.search);
const api = new CmpApi(300, 7, true);
const all = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

function encode(consents, interests, features) {
  const model = new TCModel(new GVL(vendorList));
  model.cmpId = 300;
  model.cmpVersion = 7;
  model.consentLanguage = "FR";
  model.isServiceSpecific = true;
  model.purposeConsents.set(consents);
  model.purposeLegitimateInterests.set(interests);
  model.specialFeatureOptins.set(features);
  model.vendorConsents.set(consents.length ? [2, 8] : []);
  model.vendorsDisclosed.set([2, 8]);
  return TCString.encode(model, asked.get("tcf") === "2.2" ? { segments: [Segment.CORE] } : undefined);
}

function decide(...chosen) {
  keep("euconsent-v2", encode(...chosen));
  api.update(cookie("euconsent-v2"), false);
}

const screen = banner({
  text: "Nous et nos 2 partenaires traitons vos données.",
  choices: ["tcf-1", "tcf-3"],
  shown: () => api.update(cookie("euconsent-v2") ?? "", true),
  accept: () => decide(all, [2, 7, 8, 9, 10, 11], [1, 2]),
  refuse: () => decide([], [], []),
  save: (keys) => decide(keys.map((key) => Number(key.slice(4))), [2, 7], []),
});
window.again = () => api.update(cookie("euconsent-v2"), false);

if (asked.get("gdpr") === "no") api.update(null);
else if (cookie("euconsent-v2")) api.update(cookie("euconsent-v2"), false);
else screen.show();
