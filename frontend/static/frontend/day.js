// Reads figures off the chart of the last day, which the server has drawn: by pointer, by touch,
// and by arrow keys while it has focus. Listens on the document, since the chart is replaced.
const clock = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
let read = null; // the quarter of an hour that is being read, as its first second

function data(plot) {
  plot.found ??= JSON.parse(document.getElementById(plot.dataset.read).textContent);
  return plot.found;
}

function show(plot, index) {
  const found = data(plot);
  const at = found.at[index];
  const share = (at + found.width / 2 - found.x[0]) / (found.x[1] - found.x[0]);
  const cursor = plot.querySelector(".cursor");
  const tip = plot.querySelector(".tip");
  const area = plot.querySelector(".area");
  read = at;
  cursor.setAttribute("x1", `${100 * share}%`);
  cursor.setAttribute("x2", `${100 * share}%`);
  cursor.classList.add("on");
  const title = document.createElement("b");
  const end = new Date(1000 * (at + found.width));
  title.textContent = `${clock.format(new Date(1000 * at))} to ${clock.format(end).slice(-5)}`;
  tip.replaceChildren(title, ...found.rows.map(({ label, tone, texts }) => {
    const row = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = tone;
    row.append(mark, `${texts[index]} ${label}`);
    return row;
  }));
  tip.hidden = false;
  const left = area.getBoundingClientRect().left - plot.getBoundingClientRect().left + share * area.clientWidth;
  const room = plot.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(room, left + (share > 0.5 ? -tip.offsetWidth - 10 : 10)))}px`;
}

function hide(plot) {
  read = null;
  plot.querySelector(".tip").hidden = true;
  plot.querySelector(".cursor").classList.remove("on");
}

function under(event) {
  return event.target instanceof Element ? event.target.closest(".day-plot") : null;
}

document.addEventListener("pointermove", (event) => {
  const plot = under(event);
  if (!plot) {
    for (const other of document.querySelectorAll(".day-plot:not(:focus)")) hide(other);
    return;
  }
  const found = data(plot);
  const box = plot.querySelector(".area").getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  const at = found.x[0] + share * (found.x[1] - found.x[0]) - found.width / 2;
  const away = found.at.map((one) => Math.abs(one - at));
  show(plot, away.indexOf(Math.min(...away)));
});

document.addEventListener("keydown", (event) => {
  const plot = under(event);
  if (!plot || event.target !== plot) return;
  if (event.key === "Escape") return hide(plot);
  const { at } = data(plot);
  const last = at.length - 1;
  const now = read === null ? last + 1 : at.indexOf(read);
  const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
  if (next === undefined) return undefined;
  event.preventDefault();
  return show(plot, Math.max(0, Math.min(last, next)));
});

document.addEventListener("focusout", (event) => {
  const plot = under(event);
  if (plot && event.target === plot && plot.isConnected) hide(plot);
});

// What was being read when the chart was replaced is read again from the new one.
document.addEventListener("propius:sections", () => {
  const plot = document.querySelector(".day-plot");
  if (!plot || read === null || !plot.querySelector(".tip").hidden) return;
  const index = data(plot).at.indexOf(read);
  if (index >= 0) show(plot, index);
});
