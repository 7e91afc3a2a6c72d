// Stand-in for the script of a live chat (Chatra's part): the conversation. It sets the cookies that the services
// catalogue names for this use, draws a window, and knows the one call that ends it. Nothing typed leaves the page.
(() => {
  const words = {
    fr: ["Messagerie (doublure)", "Bonjour ! Ceci est une doublure : rien de ce que vous écrivez ne quitte la page.", "Votre message"],
    de: ["Chat (Stellvertreter)", "Guten Tag! Dies ist ein Stellvertreter: Nichts, was Sie schreiben, verlässt die Seite.", "Ihre Nachricht"],
    es: ["Chat (sustituto)", "¡Hola! Esto es un sustituto: nada de lo que escriba sale de la página.", "Su mensaje"],
    en: ["Chat (stand-in)", "Hello! This is a stand-in: nothing that you write leaves the page.", "Your message"],
  };
  const [title, hello, label] = words[document.documentElement.lang] ?? words.en;
  document.cookie = "Chatra_session=stand-in; path=/; samesite=lax";
  document.cookie = "Chatra_active_chat=1; path=/; samesite=lax";
  const add = (parent, tag, members) => parent.appendChild(Object.assign(document.createElement(tag), members));
  const box = add(document.body, "section", { className: "stand-in", id: "chat" });
  box.setAttribute("aria-label", title);
  add(box, "div", { className: "top", textContent: title });
  const talk = add(box, "div", { className: "talk" });
  add(talk, "p", { textContent: hello });
  const write = add(box, "div", { className: "write" });
  const input = add(write, "input", { type: "text", placeholder: label });
  input.setAttribute("aria-label", label);
  const listeners = [];
  input.addEventListener("keydown", ({ key }) => {
    if (key !== "Enter" || !input.value) return;
    add(talk, "p", { textContent: input.value });
    for (const heard of listeners) heard(input.value);
    input.value = "";
    talk.scrollTop = talk.scrollHeight;
  });
  const calls = {
    heard: (listener) => listeners.push(listener),
    say: (text) => {
      add(talk, "p", { textContent: text, className: "invited" });
      talk.scrollTop = talk.scrollHeight;
    },
    kill: () => {
      box.remove();
      delete window.Chatra;
    },
  };
  window.Chatra = (command, ...rest) => calls[command]?.(...rest);
})();
