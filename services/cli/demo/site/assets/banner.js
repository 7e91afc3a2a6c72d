// The banner of the shop's own, drawn from the notice that Sayso hands out. Its two answers look alike and are one click
// each; no box is ticked in advance; the page can be used before any answer.

import { button, decision, language, make, texts } from "./page.js";

export class Banner {
  /** @param {any} sayso @param {any} shown what sayso.notice() gave: hash, token and content */
  constructor(sayso, shown) {
    this.sayso = sayso;
    this.shown = shown;
    sayso.on("choice", () => this.isAnswered() && this.close());
  }

  /** Every purpose of the notice has an answer on this device. */
  isAnswered() {
    const known = this.sayso.choices();
    return this.shown.content.purposes.every(({ purpose, legal_basis }) =>
      known.some((one) => one.purpose === purpose && one.legal_basis === legal_basis),
    );
  }

  askIfNeeded() {
    if (!this.isAnswered()) this.draw(false);
  }

  close() {
    this.box?.remove();
    this.box = undefined;
  }

  /** @param {boolean} choosing whether each purpose has its own box */
  draw(choosing) {
    const { content } = this.shown;
    const answers = make(
      "div",
      { class: "answers" },
      button(texts.refuse, () => this.answer(false)),
      button(texts.accept, () => this.answer(true)),
      choosing ? button(texts.save, () => this.save()) : button(texts.choose, () => this.draw(true), "quiet"),
    );
    const box = make(
      "section",
      { class: "banner", lang: content.language },
      make(
        "div",
        {},
        make("h2", { textContent: content.title, id: "banner-title" }),
        make("p", { textContent: content.text }),
        make("ul", { class: "purposes" }, ...content.purposes.map((purpose) => this.row(purpose, choosing))),
        make("p", { textContent: content.withdrawal }),
        make(
          "p",
          { class: "small" },
          `${content.controller.name} · ${content.controller.contact} · `,
          make("a", { href: `/${language}/privacy`, textContent: texts.policy }),
        ),
        answers,
      ),
    );
    box.setAttribute("role", "region");
    box.setAttribute("aria-labelledby", "banner-title");
    this.close();
    this.box = box;
    document.body.append(box);
    if (choosing) box.querySelector("input").focus();
  }

  row(purpose, choosing) {
    const { title, description, legal_basis } = purpose;
    const item = make(
      "li",
      {},
      make("h3", { textContent: title }),
      make("p", { class: "basis", textContent: texts.basis[legal_basis] }),
      make("p", { textContent: description }),
    );
    if (choosing) {
      const tick = make("input", { type: "checkbox", name: purpose.purpose });
      item.append(make("label", { class: "box" }, tick, legal_basis === "consent" ? texts.agree : texts.object));
    }
    return item;
  }

  /** One click for all. */
  answer(granted) {
    this.record(() => granted, granted ? "accept_all" : "reject_all", "button");
  }

  /** Each box: ticked is a yes to what needs consent, and an objection to what does not. */
  save() {
    const ticked = ({ purpose }) => this.box.querySelector(`input[name="${purpose}"]`).checked;
    this.record((purpose) => ticked(purpose) === (purpose.legal_basis === "consent"), "save", "toggle");
  }

  record(isGranted, action, mechanism) {
    const decisions = this.shown.content.purposes.map((purpose) => decision(purpose, isGranted(purpose)));
    this.sayso.record({ decisions, notice: this.shown, action, mechanism, element: "banner" });
  }
}
