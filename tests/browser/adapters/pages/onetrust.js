// Stands for OneTrust: the globals and events of the vendor's events guide, in its order. On load OneTrustGroupsUpdated;
// on a click OptanonActiveGroups are set, OneTrustGroupsUpdated, then OnConsentChanged's callbacks, OTConsentApplied later.
import { banner, cookie, keep } from "./banner.js";

const GROUPS = [
  { CustomGroupId: "C0001", GroupName: "Strictly Necessary Cookies", Status: "always active" },
  { CustomGroupId: "C0002", GroupName: "Performance Cookies", Status: "inactive" },
  { CustomGroupId: "C0003", GroupName: "Functional Cookies", Status: "inactive" },
  { CustomGroupId: "C0004", GroupName: "Targeting Cookies", Status: "inactive" },
];
const OPTIONAL = GROUPS.slice(1).map(({ CustomGroupId }) => CustomGroupId);
const callbacks = [];

function activate(granted) {
  const active = ["C0001", ...granted];
  window.OnetrustActiveGroups = window.OptanonActiveGroups = `,${active.join(",")},`;
  dispatchEvent(new CustomEvent("OneTrustGroupsUpdated", { detail: active }));
  return active;
}

function decide(granted) {
  const groups = GROUPS.map(({ CustomGroupId: id }) => `${id}:${id === "C0001" || granted.includes(id) ? 1 : 0}`);
  keep("OptanonConsent", `groups=${groups.join(",")}`);
  keep("OptanonAlertBoxClosed", new Date().toISOString());
  const active = activate(granted);
  for (const callback of callbacks) callback(new CustomEvent("consent.onetrust", { detail: active }));
  setTimeout(() => dispatchEvent(new Event("OTConsentApplied")), 20);
}

const screen = banner({
  text: "Nous utilisons des cookies.",
  choices: OPTIONAL,
  ids: { banner: "onetrust-banner-sdk", accept: "onetrust-accept-btn-handler", refuse: "onetrust-reject-all-handler" },
  accept: () => decide(OPTIONAL),
  refuse: () => decide([]),
  save: decide,
});
// ?model=opt-out: closing the banner leaves everything active.
const left = new URLSearchParams(location.search).get("model") === "opt-out" ? OPTIONAL : [];
const close = document.createElement("button");
Object.assign(close, { textContent: "Fermer", className: "onetrust-close-btn-handler" });
close.addEventListener("click", () => {
  screen.element.hidden = true;
  decide(left);
});
screen.element.append(close);

setTimeout(() => {
  window.OneTrust = {
    GetDomainData: () => ({ Groups: GROUPS, ShowAlertNotice: true }),
    IsAlertBoxClosed: () => cookie("OptanonAlertBoxClosed") !== undefined,
    OnConsentChanged: (callback) => callbacks.push(callback),
  };
  const stored = cookie("OptanonConsent");
  activate(OPTIONAL.filter((id) => stored?.includes(`${id}:1`)));
  if (!stored) screen.show();
}, 30);
