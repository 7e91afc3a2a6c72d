// Google Consent Mode v2: with a map of its keys to purposes, writes `consent update` after our own acts; without one, reads
// `consent` commands off the dataLayer. A Consent Mode call alone is never an act: nothing here calls api.act.
const ANSWERS = ["granted", "denied"];
// Not a choice: Google's own words for what a site needs to be safe.
const NECESSARY = ["security_storage"];

/** The answers of one command; other members (wait_for_update, region) are settings. */
function answersOf(parameters) {
  return Object.fromEntries(Object.entries(parameters ?? {}).filter(([, value]) => ANSWERS.includes(value)));
}

/** `consent update` as gtag() pushes it: an arguments object, not an array. */
function update() {
  window.dataLayer.push(arguments);
}

/** The site's map, as an object or as the text of data-gcm; null where Consent Mode is only read. */
function mapOf(setting) {
  const map = typeof setting === "string" && setting.startsWith("{") ? JSON.parse(setting) : setting;
  return map && typeof map === "object" ? map : null;
}

/** Consent Mode's keys answered by the purposes that the site maps to them. */
function mapped(map) {
  const granted = (purposes) => [purposes].flat().every((purpose) => window.sayso.granted(purpose));
  return Object.fromEntries(
    Object.entries(map).map(([key, purposes]) => [key, granted(purposes) ? "granted" : "denied"]),
  );
}

/** Hand every command on the dataLayer to `read`: those that are there, and those to come. */
function watch(read) {
  const layer = (window.dataLayer ??= []);
  [...layer].forEach(read);
  const push = layer.push;
  layer.push = function (...entries) {
    entries.forEach(read);
    return push.apply(this, entries);
  };
}

/** What Consent Mode is told is told on, as what was observed. */
function reader(api) {
  const current = {}; // what Consent Mode holds now, defaults included
  const updated = {}; // what an update said: a default is nobody's choice
  let timer;

  function tell() {
    timer = undefined;
    const keys = Object.keys(updated).filter((key) => !NECESSARY.includes(key));
    const choices = keys.map((key) => ({ key: key.replaceAll("_", "-"), granted: updated[key] === "granted" }));
    api.replay({ choices, element: "banner", signals: { gcm: { ...current } } });
    api.replay({ choices: [], signals: { gcm: undefined } }); // beside a later act it would be what held before
  }

  return (entry) => {
    if (entry?.[0] !== "consent") return;
    const [, command, parameters] = entry;
    if (command === "default" && !parameters?.region) {
      Object.assign(current, answersOf(parameters), updated);
    } else if (command === "update") {
      Object.assign(updated, answersOf(parameters));
      Object.assign(current, updated);
      timer ??= setTimeout(tell, 50); // banners push several in a row
    }
  };
}

function attach(api) {
  const map = mapOf(api.config.gcm);
  if (!map) return watch(reader(api));
  window.dataLayer ??= [];
  const write = () => update("consent", "update", mapped(map));
  if (window.sayso.choices().length) write(); // Google forgets between pages
  window.sayso.on("choice", write);
}

window.sayso.adapter("gcm", attach);
