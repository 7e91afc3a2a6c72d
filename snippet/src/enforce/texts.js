// The words of a placeholder, in the languages of the catalogue; any other page reads English, marked as English.

const TEXTS = {
  en: {
    text: (name) =>
      `This content comes from ${name}. When you open it, your browser connects to ${name}, ` +
      "which may store data on your device.",
    open: (name) => `Open ${name}`,
  },
  fr: {
    text: (name) =>
      `Ce contenu est fourni par ${name}. Si vous l’ouvrez, votre navigateur se connecte à ${name}, ` +
      "qui peut enregistrer des données sur votre appareil.",
    open: (name) => `Ouvrir ${name}`,
  },
  de: {
    text: (name) =>
      `Dieser Inhalt kommt von ${name}. Wenn Sie ihn öffnen, verbindet sich Ihr Browser mit ${name}; ` +
      "dabei können Daten auf Ihrem Gerät gespeichert werden.",
    open: (name) => `${name} öffnen`,
  },
  es: {
    text: (name) =>
      `Este contenido procede de ${name}. Si lo abre, su navegador se conecta a ${name}, ` +
      "que puede guardar datos en su dispositivo.",
    open: (name) => `Abrir ${name}`,
  },
};

/** @param {string | undefined} wanted a language tag @returns {"en" | "fr" | "de" | "es"} */
export function languageOf(wanted) {
  const primary = (wanted ?? "").toLowerCase().split("-")[0];
  return primary in TEXTS ? primary : "en";
}

/** @param {string} language one of ours @param {string} name of the service */
export const neutralText = (language, name) => TEXTS[language].text(name);
/** @param {string} language one of ours @param {string} name of the service */
export const openLabel = (language, name) => TEXTS[language].open(name);
