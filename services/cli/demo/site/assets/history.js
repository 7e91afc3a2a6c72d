// What the log holds of this browser, asked for with the capability that the answer to its last act brought, and a
// receipt of each act to keep. Without an identifier on the device there is nothing to ask with.

import { button, language, make, texts } from "./page.js";

const TRIES = 20;
const PAUSE_MS = 300;

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
const capability = () => JSON.parse(localStorage.getItem("sayso.visitor") ?? "null")?.capability;

export class History {
  constructor(sayso) {
    this.sayso = sayso;
    this.box = make("div", { class: "history" });
    this.box.setAttribute("aria-live", "polite");
  }

  /** Ask until the log has recorded the last act on this device: a page that was just loaded again may be ahead of it. */
  async load() {
    const turn = (this.turn = {});
    const { at } = JSON.parse(localStorage.getItem("sayso")) || {};
    let records = [];
    if (!this.box.hasChildNodes()) this.say(texts.loading);
    for (let tries = 0; tries < TRIES && turn === this.turn; tries++) {
      if (!this.sayso.visitor() || !capability()) return this.say(texts.forgotten);
      ({ records } = await this.sayso.history().catch(() => ({ records })));
      if (turn !== this.turn) return undefined;
      if (records.some((one) => one.parts.what?.time === at)) return this.draw(records);
      await pause();
    }
    if (turn !== this.turn) return undefined;
    return records.length ? this.draw(records) : this.say(texts.unread);
  }

  say(words) {
    this.box.replaceChildren(make("p", { class: "small", textContent: words }));
  }

  draw(records) {
    this.box.replaceChildren(...records.map((record) => this.row(record)).reverse());
  }

  row({ event, index, parts }) {
    const { type, time, decisions = [] } = parts.what;
    const when = new Date(time).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
    const answers = decisions.map((one) => `${one.purpose}: ${texts.states[one.decision]}`).join(" · ");
    const told = make("p", { textContent: `${when} · ${texts.place} ${index} · ${answers}` });
    const words = make("div", {}, make("strong", { textContent: texts.types[type] ?? type }), told);
    const get = button(texts.receipt, () => keep(event, get, words), "quiet");
    return make("div", { class: "row" }, words, decisions.length ? get : null);
  }
}

/** Fetch a receipt, as soon as a checkpoint covers its record, and let the browser save it. */
async function keep(event, get, words) {
  get.disabled = true;
  get.textContent = texts.receipt_wait;
  const answer = await fetchReceipt(event);
  get.textContent = texts.receipt;
  get.disabled = false;
  words.querySelector(".receipt")?.remove();
  if (!answer) return void words.append(make("p", { class: "receipt", textContent: texts.unread }));
  const name = `receipt-${event.slice(0, 8)}.jws`;
  const link = make("a", { href: URL.createObjectURL(new Blob([answer], { type: "application/jose" })), download: name, textContent: name });
  words.append(make("p", { class: "receipt" }, `${texts.receipt_made} `, link));
  return void link.click();
}

async function fetchReceipt(event) {
  for (let tries = 0; tries < TRIES; tries++) {
    const answer = await fetch(`${window.sayso.config.query}/v1/me/events/${event}/receipt`, {
      headers: { authorization: `Bearer ${capability()}` },
    }).catch(() => null);
    if (answer?.ok) return answer.text();
    if (answer && answer.status !== 503) return null;
    await pause();
  }
  return null;
}
