// How each banner is recognised: a cheap look at window. A banner's own adapter stands before the general interfaces,
// and among them the earlier leads. The enforcement bundle is loaded the same way, when the page marks something for it.

const w = window;

/** @type {Record<string, (late: boolean, config: any) => any>} `late`: a while has passed and nothing was found */
export const FOUND = {
  cookieconsent: () => w.CookieConsent?.getUserPreferences,
  klaro: () => w.klaro?.getManager,
  tarteaucitron: () => w.tarteaucitron?.user,
  c15t: () => w.c15tStore?.getState,
  onetrust: () => w.OneTrust?.OnConsentChanged,
  cookiebot: () => w.Cookiebot?.consent,
  usercentrics: () => w.UC_UI || w.__ucCmp,
  didomi: () => w.Didomi || w.didomiOnReady,
  tcf: () => w.__tcfapi,
  gpp: () => w.__gpp,
  gcm: (late, config) => config.gcm != null || (late && [...(w.dataLayer || [])].some((pushed) => pushed[0] === "consent")),
  enforce: (_, config, choice) => config.enforce != null || choice?.enforce || document.querySelector("[data-sayso-service]"),
};
/** What several banners speak: they act only where no banner of its own is found. */
export const GENERIC = ["tcf", "gpp", "gcm", "enforce"];
