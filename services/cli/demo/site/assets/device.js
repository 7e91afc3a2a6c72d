// For the demonstration only: what this page's device holds, and what was posted last. It looks and stores nothing.

import { make, texts } from "./page.js";

const EVERY_MS = 400;

export function watchDevice(sayso) {
  const box = document.getElementById("device");
  let last = "";
  sayso.on("choice", ({ type }) => (last = type));
  const look = () => {
    const names = [
      ...document.cookie.split("; ").filter(Boolean).map((pair) => `cookie ${pair.split("=")[0]}`),
      ...Object.keys(localStorage).sort().map((key) => `local ${key}`),
    ];
    const said = names.join(", ") || texts.nothing;
    const told = `${said}|${last}`;
    if (box.dataset.told === told) return;
    box.dataset.told = told;
    box.replaceChildren(make("strong", { textContent: `${texts.device}: ` }), said);
    if (last) box.append(make("br"), make("strong", { textContent: `${texts.last}: ` }), last);
  };
  look();
  setInterval(look, EVERY_MS);
}
