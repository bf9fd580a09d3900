// Fetches the page anew every ten seconds and puts its content in place. Without it, the page reloads every thirty.
"use strict";
const EVERY = 10000;

function prepare() {
  document.querySelector("label.live").hidden = false;
}

async function refresh() {
  const live = document.getElementById("live");
  const main = document.getElementById("main");
  const busy = main.contains(document.activeElement) && document.activeElement !== live;
  if (!live.checked || busy || document.hidden) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(EVERY) });
  if (answer.redirected) return location.reload();
  if (!answer.ok) throw new Error("another page, which does not refresh itself");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const kept = document.activeElement === live;
  main.replaceChildren(...fresh.getElementById("main").children);
  document.title = fresh.title;
  prepare();
  if (kept) document.getElementById("live").focus();
}

prepare();
setInterval(() => refresh().catch(() => { document.title = "No answer · poller"; }), EVERY);
