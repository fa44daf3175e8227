// Reads values off the charts, which the server has drawn: by pointer, by touch, and by arrow keys
// on a chart that has focus. Listens on the document, since a chart is replaced when it changes.
const steps = new Map(); // the round or second that was read last, by chart

function data(plot) {
  plot.read ??= JSON.parse(document.getElementById(plot.dataset.plot).textContent);
  return plot.read;
}

function places(found) {
  return [...new Set(found.lines.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
}

function nearest(values, wanted) {
  return values.reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best));
}

function figure(found, value) {
  if (found.share) return `${(100 * value).toFixed(1)} %`;
  const size = Math.abs(value);
  return value === 0 || (size >= 0.01 && size < 100) ? value.toFixed(3) : `${+value.toPrecision(3)}`;
}

function duration(seconds) {
  const whole = Math.round(seconds);
  for (const [size, unit, small, rest] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit} ${Math.floor((whole % size) / small)} ${rest}`;
  }
  return `${whole} s`;
}

function rows(found, x) {
  const span = (found.x[1] - found.x[0]) / 40;
  return found.lines.flatMap(({ label, tone, kind, points }) => {
    const at = nearest(points.map((point) => point[0]), x);
    // By time, two jobs have no round at the same second: what is near enough stands for it.
    if (Math.abs(at - x) > (found.by === "time" ? span : 0)) return [];
    const [, value, round] = points.find((point) => point[0] === at);
    const which = found.by === "time" ? ` (round ${round})` : "";
    return [{ text: `${label}: ${figure(found, value)}${which}`, tone, kind }];
  });
}

function show(plot, x) {
  const found = data(plot);
  const tip = plot.querySelector(".tip");
  const area = plot.querySelector(".area");
  const share = (x - found.x[0]) / (found.x[1] - found.x[0]);
  steps.set(plot.id, x);
  const cursor = plot.querySelector(".cursor");
  cursor.setAttribute("x1", `${100 * share}%`);
  cursor.setAttribute("x2", `${100 * share}%`);
  cursor.classList.add("on");
  const title = document.createElement("b");
  title.textContent = found.by === "time" ? `After ${duration(x)}` : `Round ${x}`;
  tip.replaceChildren(title, ...rows(found, x).map(({ text, tone, kind }) => {
    const row = document.createElement("span");
    row.className = `${tone} ${kind}`;
    row.textContent = text;
    return row;
  }));
  tip.hidden = false;
  const left = area.getBoundingClientRect().left - plot.getBoundingClientRect().left + share * area.clientWidth;
  const room = plot.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(room, left + (share > 0.5 ? -tip.offsetWidth - 10 : 10)))}px`;
}

function hide(plot) {
  steps.delete(plot.id);
  plot.querySelector(".tip").hidden = true;
  plot.querySelector(".cursor").classList.remove("on");
}

function under(event) {
  return event.target instanceof Element ? event.target.closest(".plot") : null;
}

document.addEventListener("pointermove", (event) => {
  const plot = under(event);
  for (const other of document.querySelectorAll(".plot:not(:focus)")) if (other !== plot) hide(other);
  if (!plot) return;
  const found = data(plot);
  const box = plot.querySelector(".area").getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  show(plot, nearest(places(found), found.x[0] + share * (found.x[1] - found.x[0])));
});

document.addEventListener("keydown", (event) => {
  const plot = under(event);
  if (!plot || event.target !== plot) return;
  if (event.key === "Escape") return hide(plot);
  const all = places(data(plot));
  const last = all.length - 1;
  const now = steps.has(plot.id) ? all.indexOf(nearest(all, steps.get(plot.id))) : last + 1;
  const next = { ArrowLeft: now - 1, ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
  if (next === undefined) return undefined;
  event.preventDefault();
  return show(plot, all[Math.max(0, next)]);
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
  for (const [id, x] of [...steps]) {
    const plot = document.getElementById(id);
    if (!plot) steps.delete(id);
    else if (plot.querySelector(".tip").hidden) show(plot, nearest(places(data(plot)), x));
  }
});
document.documentElement.dataset.tips = "yes";
