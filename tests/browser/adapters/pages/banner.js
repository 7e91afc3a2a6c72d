// The screen of every page here: a banner with a text, one checkbox a choice, and the buttons that the driver clicks.
// `ids` gives the elements the names that a platform's own banner has.

/** The value of a first-party cookie of the page, or undefined. */
export function cookie(name) {
  const pair = document.cookie.split("; ").find((text) => text.startsWith(`${name}=`));
  return pair && decodeURIComponent(pair.slice(name.length + 1));
}

/** Kept as CMPs keep a choice: in a first-party cookie. */
export function keep(name, value) {
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; SameSite=Lax`;
}

/**
 * @param {{text: string, choices: string[], accept: Function, refuse: Function, save: Function, shown?: Function,
 *   ids?: Record<string, string>, root?: (element: Element) => void}} options
 */
export function banner({ text, choices, accept, refuse, save, shown = () => {}, ids = {}, root }) {
  const element = document.createElement("div");
  element.id = ids.banner ?? "banner";
  element.lang = "fr";
  element.hidden = true;
  const part = (tag, id, content, click) => {
    const made = document.createElement(tag);
    if (id) made.id = id;
    made.textContent = content;
    if (click) made.addEventListener("click", () => ((element.hidden = true), click()));
    element.append(made);
    return made;
  };
  part("p", "", text);
  const boxes = choices.map((key) => {
    const label = part("label", "", key);
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: key });
    label.prepend(box);
    return box;
  });
  part("button", ids.accept ?? "accept", "Tout accepter", accept);
  part("button", ids.refuse ?? "refuse", "Tout refuser", refuse);
  part("button", ids.save ?? "save", "Enregistrer", () => save(boxes.filter((box) => box.checked).map((box) => box.value)));
  (root ?? ((made) => document.body.append(made)))(element);
  const show = () => {
    element.hidden = false;
    shown();
  };
  const open = Object.assign(document.createElement("button"), { id: "open", textContent: "Mes choix" });
  open.addEventListener("click", show);
  document.body.append(open);
  return { element, show };
}
