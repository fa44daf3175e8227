// Times in the viewer's zone and words: "4 minutes ago", the whole time as the tooltip.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const plain = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function words(seconds) {
  if (Math.abs(seconds) < 5) return "now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return relative.format(Math.trunc(seconds), "second");
}

function write(element) {
  const at = new Date(element.dateTime);
  const away = (at - Date.now()) / 1000;
  const isRelative = element.dataset.when === "relative" && Math.abs(away) < 7 * 86400;
  const text = isRelative ? words(away) : ({ clock, full }[element.dataset.when] ?? plain).format(at);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = exact.format(at);
}

// Axes of charts: their texts are no time elements, and hold UTC until now.
function writeAxes() {
  for (const tick of document.querySelectorAll("[data-clock]")) {
    const text = clock.format(new Date(tick.dataset.clock));
    if (tick.textContent !== text) tick.textContent = text;
  }
  for (const title of document.querySelectorAll("[data-zone]")) {
    if (title.textContent !== "Time of day") title.textContent = "Time of day";
  }
}

function writeAll() {
  writeAxes();
  for (const element of document.querySelectorAll("time[data-when]")) write(element);
}

writeAll();
setInterval(writeAll, 1000);
// Before the next paint, so that a section that was pushed never shows UTC.
new MutationObserver(writeAll).observe(document.getElementById("main"), {
  childList: true,
  subtree: true,
});
