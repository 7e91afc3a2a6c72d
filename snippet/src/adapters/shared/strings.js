// The raw TC and GPP strings beside what a banner says, as they stand at the moment of an act.
// Invariant: a string that still waits for the visitor's answer is left out; none contradicts the act it lies beside.

/** @returns {string | undefined} */
export function tcString() {
  let found;
  window.__tcfapi?.("addEventListener", 2, (tcData, success) => {
    if (!success || !tcData) return;
    if (tcData.eventStatus !== "cmpuishown") found = tcData.tcString || undefined;
    window.__tcfapi("removeEventListener", 2, () => {}, tcData.listenerId); // 0 is an id like any other
  });
  return found;
}

/** @returns {string | undefined} */
export function gppString() {
  let found;
  window.__gpp?.("ping", (ping, success) => {
    if (success && ping?.signalStatus === "ready") found = ping.gppString || undefined;
  });
  return found;
}

/** Both; what is not there is said to be undefined, or core would add the one it heard last. */
export const strings = () => ({ tcf: tcString(), gpp: gppString() });
