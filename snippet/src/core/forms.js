// Forms of the site's own: <form data-sayso-form> with a checkbox for each purpose. Submitting it is the act, and the
// form's visible text is the words. The listener stands on the document, so that forms added later are seen as well.

import { record } from "./record.js";
import { capture } from "./words.js";

/** @param {{target: any}} event */
function submitted({ target: form }) {
  if (!form.matches("[data-sayso-form]")) return;
  record({
    decisions: [...form.querySelectorAll("[data-sayso-purpose]")].map(({ checked, dataset }) => ({
      purpose: dataset.saysoPurpose,
      granted: checked,
      legal_basis: dataset.saysoLegalBasis,
      services: dataset.saysoServices?.split(/[\s,]+/),
    })),
    identifiers: [...form.querySelectorAll("[data-sayso-identifier]")]
      .filter((field) => field.value)
      .map((field) => ({ type: field.dataset.saysoIdentifier, value: field.value })),
    notice: capture(form),
    mechanism: "form",
    element: "form",
    action: "save",
    receipt: "saysoReceipt" in form.dataset,
  });
}

/** Before a handler of the site's own, which may stop the event. */
export const watchForms = () => document.addEventListener("submit", submitted, true);
