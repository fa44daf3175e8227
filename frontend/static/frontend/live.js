// Keeps a live page honest: what had focus, was open or scrolled stays so when a section is
// replaced; the page says when it is not live, and asks for news itself until the socket is back.
const ASK_MS = 5000;
const PATIENCE_MS = 2500;
const link = document.getElementById("link");
let asking = null;
let kept = null;

function remember() {
  const active = document.activeElement;
  const live = document.getElementById("live");
  kept = {
    focus: live && live.contains(active) ? active.id : "",
    open: [...document.querySelectorAll("#live details[open][id]")].map((one) => one.id),
    scrolled: [...document.querySelectorAll("#live .scroll[id]")].map((one) => [
      one.id, one.scrollLeft, one.scrollTop,
    ]),
  };
}

function restore() {
  if (!kept) return;
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, left, top] of kept.scrolled) {
    const element = document.getElementById(id);
    if (element) [element.scrollLeft, element.scrollTop] = [left, top];
  }
  if (kept.focus && document.activeElement?.id !== kept.focus) {
    document.getElementById(kept.focus)?.focus({ preventScroll: true });
  }
  kept = null;
  document.dispatchEvent(new Event("propius:sections"));
}

async function ask() {
  try {
    await htmx.ajax("GET", location.pathname + location.search, {
      source: "#live",
      swap: "none",
      headers: { "X-Propius-Sections": "1" },
    });
  } catch {
    // The site is away; the next question comes.
  }
}

function say(text) {
  link.textContent = text;
  link.hidden = !text;
  link.classList.toggle("ok", !text);
}

function connected() {
  clearTimeout(asking);
  asking = null;
  say("");
  document.documentElement.dataset.live = "yes";
}

function disconnected(event) {
  delete document.documentElement.dataset.live;
  const code = event.detail.event?.code;
  if (code === 4403) return say("You were signed out, or your role changed. Reload the page.");
  if (code === 4404) return say("What this page showed is gone.");
  if (asking) return undefined;
  asking = setTimeout(async function again() {
    say("Not live: asking every 5 seconds");
    await ask();
    if (asking) asking = setTimeout(again, ASK_MS);
  }, PATIENCE_MS);
  return undefined;
}

document.body.addEventListener("htmx:wsBeforeMessage", remember);
document.body.addEventListener("htmx:wsAfterMessage", restore);
document.body.addEventListener("htmx:beforeSwap", remember);
document.body.addEventListener("htmx:afterRequest", restore);
document.body.addEventListener("htmx:wsOpen", connected);
document.body.addEventListener("htmx:wsClose", disconnected);
