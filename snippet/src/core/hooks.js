// Who is told of what: functions given to sayso.on(), the document, and Google Tag Manager's dataLayer.

/** @type {Record<string, Function[]>} */
const listeners = {};

/** @param {"choice" | "sent" | "problem"} name @param {(detail: any) => void} listener */
export function on(name, listener) {
  (listeners[name] ||= []).push(listener);
}

/** @param {string} name @param {any} [detail] a listener's mistake must not undo an act */
export function emit(name, detail) {
  for (const listener of listeners[name] || []) {
    try {
      listener(detail);
    } catch (error) {
      console.error(error);
    }
  }
  document.dispatchEvent(new CustomEvent("sayso:" + name, { detail }));
}
