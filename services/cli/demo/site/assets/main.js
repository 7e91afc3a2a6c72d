// The shop's own part: its banner, its preference dialog, and what it shows of the device. Everything else is Sayso's.
// Invariant: nothing is stored, and nobody is asked again, by these files; they only call window.sayso.

import { Banner } from "./banner.js";
import { Choices } from "./choices.js";
import { watchDevice } from "./device.js";
import { texts } from "./page.js";

/** The snippet's tag is async: it may be there already, or come later. */
const ready = new Promise((resolve) => {
  if (window.sayso) resolve(window.sayso);
  else document.addEventListener("sayso:ready", () => resolve(window.sayso), { once: true });
});

const sayso = await ready;
const shown = await sayso.notice();
watchDevice(sayso);
const banner = new Banner(sayso, shown);
const choices = new Choices(sayso, shown);
banner.askIfNeeded();

// #choices stays in the address while the dialog is open, so that it is open again after a reload.
const openIfAsked = () => location.hash === "#choices" && choices.open();
addEventListener("hashchange", openIfAsked);
for (const link of document.querySelectorAll("a.choices")) link.addEventListener("click", () => setTimeout(openIfAsked));
openIfAsked();
document.body.dataset.ready = texts.choices;
