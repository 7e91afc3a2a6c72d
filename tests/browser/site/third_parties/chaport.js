// Stand-in for the script of cdn.chaport.com (the real one cannot be reached): its cookies, one of them on the parent
// domain and one on a path, a database, and nothing that could end it.
(() => {
  const parent = location.hostname.split(".").slice(-2).join(".");
  const write = () => {
    document.cookie = "chaport_session=1; path=/";
    document.cookie = `chaport_uid=u-1; path=/; domain=${parent}; max-age=31536000`;
    document.cookie = `chaport_prefs=open; path=${location.pathname}`;
    document.cookie = "chaport_visitor_token=t-1; path=/";
  };
  write();
  indexedDB.open("chaport-messages").onsuccess = ({ target }) => target.result.close();
  localStorage.setItem("unread", "0");
  setInterval(write, 50);
  document.body.dataset.chaport = "on";
})();
