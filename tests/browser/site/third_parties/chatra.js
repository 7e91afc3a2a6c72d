// Stand-in for the script of cdn.chatra.io (the real one cannot be reached): it leaves what its catalogue page names,
// and writes it again, as a widget does, until its documented call ends it.
(() => {
  const timers = (window.chatraTimers ??= []);
  const write = () => {
    document.cookie = "Chatra=visitor-1; path=/; max-age=31536000";
    document.cookie = "Chatra_session=s-1; path=/";
    document.cookie = "Chatra_active_chat=1; path=/";
    localStorage.setItem("chatra.history", "[]");
    sessionStorage.setItem("widget-draft", "hello");
  };
  window.Chatra = (command) => {
    if (command !== "kill") return;
    timers.forEach(clearInterval);
    document.getElementById("chatra")?.remove();
    window.killed = (window.killed ?? 0) + 1;
  };
  write();
  timers.push(setInterval(write, 50));
  const widget = document.createElement("div");
  widget.id = "chatra";
  widget.textContent = "Chat with us";
  document.body.append(widget);
})();
