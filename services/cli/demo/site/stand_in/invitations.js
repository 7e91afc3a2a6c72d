// Stand-in for a live chat's proactive messages: it speaks first, once, and remembers for a year that it did.
(() => {
  const words = {
    fr: "Vous hésitez entre deux lampes ? L'atelier vous conseille volontiers.",
    de: "Schwanken Sie zwischen zwei Leuchten? Die Werkstatt berät Sie gern.",
    es: "¿Duda entre dos lámparas? El taller le aconseja con gusto.",
    en: "Torn between two lamps? The workshop is glad to advise.",
  };
  if (document.cookie.includes("Chatra_marked=")) return;
  document.cookie = "Chatra_marked=1; path=/; max-age=31536000; samesite=lax";
  window.Chatra?.("say", words[document.documentElement.lang] ?? words.en);
})();
