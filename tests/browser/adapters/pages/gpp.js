// A very small GPP CMP for the United States, made of IAB's own @iabgpp/cmpapi.
// ?stay=ready keeps the signal ready while a section changes, as CMPs with a lone "do not sell" link do.
// ?gpc=1: the browser sent Global Privacy Control.
import { CmpApi } from "@iabgpp/cmpapi";
import { banner, cookie, keep } from "./banner.js";

const FIELDS = { sale: "SaleOptOut", sharing: "SharingOptOut", "targeted-advertising": "TargetedAdvertisingOptOut" };
const asked = new URLSearchParams(location.search);

// The stub of the specification, as far as listeners need it: the package asks it for what waited.
const queue = [];
window.__gpp = (...call) => {
  if (call.length === 0) return queue;
  if (call[0] === "events") return [];
  queue.push(call);
};
const api = new CmpApi(31, 4);
api.setApplicableSections([7]);

function decide(allowed) {
  for (const [key, field] of Object.entries(FIELDS)) api.setFieldValue("usnat", field, allowed.includes(key) ? 2 : 1);
  api.setFieldValue("usnat", "Gpc", asked.has("gpc"));
  keep("gpp", api.getGppString());
  api.fireSectionChange("usnat");
  if (asked.get("stay") === "ready") return api.fireSectionChange("usnat");
  api.setCmpDisplayStatus("hidden");
  api.setSignalStatus("ready");
}

const screen = banner({
  text: "We sell and share personal information.",
  choices: Object.keys(FIELDS),
  shown: () => {
    if (asked.get("stay") === "ready") return;
    api.setSignalStatus("not ready");
    api.setCmpDisplayStatus("visible");
  },
  accept: () => decide(Object.keys(FIELDS)),
  refuse: () => decide([]),
  save: decide,
});
api.setCmpStatus("loaded");
if (cookie("gpp")) {
  api.setGppString(cookie("gpp"));
  api.setSignalStatus("ready");
} else if (asked.get("stay") === "ready") {
  for (const field of Object.values(FIELDS)) api.setFieldValue("usnat", field, 2);
  api.setSignalStatus("ready");
} else screen.show();
