// The snippet's core: one global, window.sayso. Loaded twice, it runs once, or every act would be recorded twice.

import { choice, setEnforcer, tell, watchGpc } from "./acts.js";
import { adapter, shown, watch } from "./adapters.js";
import { config } from "./config.js";
import { watchForms } from "./forms.js";
import { emit, on } from "./hooks.js";
import { flush, resume } from "./queue.js";
import { choices, granted, history, link, notice, record, unlink, visitor, withdraw } from "./record.js";
import { capture } from "./words.js";

/* global __VERSION__ */

function start() {
  window.sayso = {
    version: __VERSION__,
    config,
    adapter,
    capture,
    choices,
    enforcer: setEnforcer,
    granted,
    history,
    link,
    notice,
    on,
    record,
    shown,
    unlink,
    visitor,
    withdraw,
  };
  addEventListener("online", resume);
  addEventListener("pagehide", () => flush(true));
  watchForms();
  if (choice()) {
    watchGpc();
    tell();
  }
  flush();
  watch();
  emit("ready", window.sayso);
}

if (!window.sayso) start();
