// A site with Google Consent Mode v2 and a banner that speaks nothing else, written as Google documents it: gtag() pushes
// its arguments object; defaults before the answer, `update` after it and again on every later page.
import { banner, cookie, keep } from "./banner.js";

window.dataLayer = window.dataLayer || [];
window.gtag = function gtag() {
  window.dataLayer.push(arguments);
};
const KEYS = ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"];
const answers = (granted) => Object.fromEntries(KEYS.map((key) => [key, granted.includes(key) ? "granted" : "denied"]));

gtag("consent", "default", { ...answers([]), security_storage: "granted", wait_for_update: 500 });
gtag("consent", "default", { ...answers(KEYS), functionality_storage: "granted", region: ["US"] });
gtag("js", new Date());

function decide(granted) {
  keep("choice", granted.join(" "));
  gtag("consent", "update", answers(granted));
}
const screen = banner({
  text: "Cookies et publicité.",
  choices: KEYS,
  accept: () => decide(KEYS),
  refuse: () => decide([]),
  save: decide,
});
if (cookie("choice") !== undefined) gtag("consent", "update", answers(cookie("choice").split(" ")));
else screen.show();
