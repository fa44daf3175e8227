// Reads figures off charts, which the server has drawn: by pointer, by touch, and by arrow keys on
// one that has focus. What it shows is in each chart's data, in words (frontend/plots.py). Listens
// on the document, since a chart is replaced when it changes.
const clock = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
const read = new Map(); // the place that was read last, by chart

function data(plot) {
  plot.reading ??= JSON.parse(document.getElementById(plot.dataset.plot).textContent);
  return plot.reading;
}

function nearest(stops, wanted) {
  const away = ([place]) => Math.abs(place - wanted);
  return stops.reduce((best, one, index) => (away(one) < away(stops[best]) ? index : best), 0);
}

function heading(title) {
  if (typeof title === "string") return title;
  const [begin, end] = title.map((seconds) => clock.format(new Date(1000 * seconds)));
  return `${begin} to ${end.slice(-5)}`;
}

function rows({ stops, rows: series, near }, [place]) {
  const away = ([stop]) => Math.abs(stops[stop][0] - place);
  return series.flatMap(({ label, mark, points }) => {
    const best = points.reduce((one, other) => (away(other) < away(one) ? other : one));
    if (away(best) > near) return [];
    const row = document.createElement("span");
    const sign = document.createElement("i");
    sign.className = mark;
    row.append(sign, `${label}: ${best[1]}`);
    return [row];
  });
}

function show(plot, index) {
  const found = data(plot);
  const [place, title] = found.stops[index];
  const share = (place - found.x[0]) / (found.x[1] - found.x[0]);
  read.set(plot.id, place);
  const cursor = plot.querySelector(".cursor");
  cursor.setAttribute("x1", `${100 * share}%`);
  cursor.setAttribute("x2", `${100 * share}%`);
  cursor.classList.add("on");
  const head = document.createElement("b");
  head.textContent = heading(title);
  const tip = plot.querySelector(".tip");
  const area = plot.querySelector(".area");
  tip.replaceChildren(head, ...rows(found, found.stops[index]));
  tip.hidden = false;
  const left = area.getBoundingClientRect().left - plot.getBoundingClientRect().left + share * area.clientWidth;
  const room = plot.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(room, left + (share > 0.5 ? -tip.offsetWidth - 10 : 10)))}px`;
}

function hide(plot) {
  read.delete(plot.id);
  plot.querySelector(".tip").hidden = true;
  plot.querySelector(".cursor").classList.remove("on");
}

function under(event) {
  return event.target instanceof Element ? event.target.closest(".plot") : null;
}

function point(event) {
  const plot = under(event);
  for (const other of document.querySelectorAll(".plot:not(:focus)")) if (other !== plot) hide(other);
  if (!plot) return;
  const { x, stops } = data(plot);
  const box = plot.querySelector(".area").getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  show(plot, nearest(stops, x[0] + share * (x[1] - x[0])));
}

document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point); // a finger that taps does not move

document.addEventListener("keydown", (event) => {
  const plot = under(event);
  if (!plot || event.target !== plot) return undefined;
  if (event.key === "Escape") return hide(plot);
  const { stops } = data(plot);
  const last = stops.length - 1;
  const now = read.has(plot.id) ? nearest(stops, read.get(plot.id)) : last + 1;
  const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
  if (next === undefined) return undefined;
  event.preventDefault();
  return show(plot, Math.max(0, Math.min(last, next)));
});

document.addEventListener("focusout", (event) => {
  const plot = under(event);
  if (!plot || event.target !== plot) return;
  // A chart that is replaced loses the focus for a moment and gets it back.
  setTimeout(() => {
    const present = document.getElementById(plot.id);
    if (present && document.activeElement !== present) hide(present);
  }, 200);
});

// What was being read when the chart was replaced is read again from the new one.
document.addEventListener("propius:sections", () => {
  for (const [id, place] of [...read]) {
    const plot = document.getElementById(id);
    if (!plot) read.delete(id);
    else if (plot.querySelector(".tip").hidden) show(plot, nearest(data(plot).stops, place));
  }
});
document.documentElement.dataset.tips = "yes";
