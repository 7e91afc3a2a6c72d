// Stands for Usercentrics, version 3 or with ?version=2 version 2: the globals and events of the vendor's documentation.
// The screen is in an open shadow tree. Version 2 stores what was clicked a moment after UC_UI_CMP_EVENT, and with
// ?order=late version 3 does too.
import { banner, cookie, keep } from "./banner.js";

const asked = new URLSearchParams(location.search);
const SERVICES = [
  { id: "S1", name: "Usercentrics", category: "essential", essential: true },
  { id: "S2", name: "Google Analytics", category: "statistics", essential: false },
  { id: "S3", name: "Chatra", category: "functional", essential: false },
  { id: "S4", name: "Google Maps", category: "functional", essential: false },
];
const OPTIONAL = SERVICES.filter(({ essential }) => !essential).map(({ id }) => id);
const isTwo = asked.get("version") === "2";
let given = JSON.parse(cookie("ucData") ?? "[]");
let type = cookie("ucData") ? "EXPLICIT" : "IMPLICIT";
let updatedBy = "onInitialPageLoad";
const UPDATED_BY = { ACCEPT_ALL: "onAcceptAllServices", DENY_ALL: "onDenyAllServices", SAVE: "onUpdateServices" };

const isGiven = (service) => service.essential || given.includes(service.id);
const details = () => ({
  consent: { type, required: type === "IMPLICIT", updatedAt: Date.now(), updatedBy },
  services: Object.fromEntries(
    SERVICES.map((service) => [service.id, { ...service, consent: { given: isGiven(service), type } }]),
  ),
  categories: {},
});
const baseInfo = () =>
  SERVICES.map((service) => ({
    id: service.id,
    name: service.name,
    categorySlug: service.category,
    isEssential: service.essential,
    consent: { status: isGiven(service), history: [{ type: type.toLowerCase(), status: isGiven(service) }] },
  }));
const fire = (name, detail) => dispatchEvent(new CustomEvent(name, { detail }));

function store(granted, click) {
  given = granted;
  updatedBy = UPDATED_BY[click];
  type = "EXPLICIT";
  keep("ucData", JSON.stringify(granted));
  if (!isTwo) fire("UC_CONSENT", details());
}

function decide(granted, click, source) {
  const clicked = () => fire("UC_UI_CMP_EVENT", { source, type: click });
  if (isTwo || asked.get("order") === "late") {
    clicked();
    setTimeout(() => store(granted, click), 50);
  } else {
    store(granted, click);
    clicked();
  }
}

const screen = banner({
  text: "Nous utilisons des services tiers.",
  choices: OPTIONAL,
  shown: () => fire("UC_UI_CMP_EVENT", { source: "none", type: "CMP_SHOWN" }),
  accept: () => decide(OPTIONAL, "ACCEPT_ALL", isTwo ? "FIRST_LAYER" : "first"),
  refuse: () => decide([], "DENY_ALL", isTwo ? "FIRST_LAYER" : "first"),
  save: (granted) => decide(granted, "SAVE", isTwo ? "SECOND_LAYER" : "second"),
  root: (element) => {
    const host = Object.assign(document.createElement("div"), { id: isTwo ? "usercentrics-root" : "usercentrics-cmp-ui" });
    document.body.append(host);
    host.attachShadow({ mode: "open" }).append(element);
  },
});
setTimeout(() => {
  if (isTwo) window.UC_UI = { isInitialized: () => true, getServicesBaseInfo: baseInfo };
  else window.__ucCmp = { isInitialized: async () => true, getConsentDetails: async () => details() };
  fire("UC_UI_INITIALIZED");
  if (!isTwo) fire("UC_CONSENT", details());
  if (type === "IMPLICIT") screen.show();
}, 30);
