// Stand-in for Chatra's proactive messages, loaded by itself: it notes whom it has spoken to, until Chatra is ended.
(() => {
  const write = () => (document.cookie = "Chatra_marked=1; path=/; max-age=31536000");
  write();
  (window.chatraTimers ??= []).push(setInterval(write, 50));
  document.body.dataset.proactive = "on";
})();
