// "My choices": what stands, what the log holds of this browser, a receipt of each act, and everything back in one click.

import { History } from "./history.js";
import { button, decision, make, texts } from "./page.js";

const YES = ["granted", "not_objected"];

export class Choices {
  /** @param {any} sayso @param {any} shown the notice that its words are of */
  constructor(sayso, shown) {
    this.sayso = sayso;
    this.shown = shown;
    this.standing = make("div");
    this.history = new History(sayso);
    const close = button(texts.close, () => this.dialog.close(), "quiet");
    this.dialog = make(
      "dialog",
      { id: "my-choices" },
      make(
        "div",
        {},
        make("div", { class: "head" }, make("h2", { textContent: texts.choices, id: "choices-title" }), close),
        make("h3", { textContent: texts.now }),
        this.standing,
        make("h3", { textContent: texts.history }),
        this.history.box,
      ),
    );
    this.dialog.setAttribute("aria-labelledby", "choices-title");
    this.dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname));
    document.body.append(this.dialog);
    sayso.on("choice", () => this.dialog.open && this.draw());
    sayso.on("sent", () => this.dialog.open && this.history.load());
  }

  open() {
    if (this.dialog.open) return;
    this.draw();
    this.history.load();
    this.dialog.showModal();
  }

  draw() {
    const known = this.sayso.choices();
    const rows = this.shown.content.purposes.map((purpose) => this.row(purpose, known));
    const letter = known.find((one) => one.purpose === "newsletter");
    if (letter) rows.push(row(texts.letter, texts.letter_hint, letter.decision));
    const standing = known.filter((one) => YES.includes(one.decision));
    this.standing.replaceChildren(...rows);
    if (known.length === 0) this.standing.prepend(make("p", { textContent: texts.unanswered }));
    if (standing.length) this.standing.append(button(texts.withdraw_all, () => this.withdraw(standing), "withdraw-all"));
  }

  row(purpose, known) {
    // The last word counts: the button of the chat's place may have been pressed after the banner was answered.
    const last = known.filter((one) => one.purpose === purpose.purpose).pop();
    const isYes = YES.includes(last?.decision);
    const act = isYes
      ? button(last.legal_basis === "consent" ? texts.withdraw : texts.object, () => this.withdraw(known.filter((one) => one.purpose === purpose.purpose && YES.includes(one.decision))))
      : button(texts.allow, () => this.say(purpose), "quiet");
    return row(purpose.title, purpose.description, last?.decision, act);
  }

  /** A yes from here carries every answer that the notice asks for, as its words do. */
  say(wanted) {
    const granted = ({ purpose, services }) => this.sayso.granted(purpose, services[0]);
    this.record(this.shown.content.purposes.map((one) => decision(one, one === wanted || granted(one))), "save");
  }

  /** @param {any[]} standing decisions */
  withdraw(standing) {
    this.record(standing.map(({ purpose, legal_basis, services }) => ({ purpose, legal_basis, services, granted: false })), "withdraw");
  }

  record(decisions, action) {
    this.sayso.record({ decisions, notice: this.shown, action, mechanism: "button", element: "preference_centre" });
  }
}

function row(title, words, state, act) {
  const badge = state && make("span", { class: `state${YES.includes(state) ? " yes" : ""}`, textContent: texts.states[state] });
  return make(
    "div",
    { class: "row" },
    make("div", {}, make("strong", { textContent: `${title} ` }), badge, make("p", { textContent: words })),
    act,
  );
}
